"""Catalogue, renders and tasks, with ownership and row-level security from the start."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE experiments (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '',
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    owner text NOT NULL,
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'shared', 'public')),
    shared_with text[] NOT NULL DEFAULT '{}'::text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);
CREATE INDEX experiments_created ON experiments (created_at DESC, id DESC);
CREATE TABLE datasets (
    id uuid PRIMARY KEY,
    experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('frames', 'video')),
    bucket text NOT NULL,
    prefix text NOT NULL,
    state text NOT NULL DEFAULT 'empty' CHECK (state IN ('empty', 'scanning', 'ready', 'failed')),
    error text,
    frame_count bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    width integer,
    height integer,
    sizes jsonb NOT NULL DEFAULT '[]'::jsonb,
    formats text[] NOT NULL DEFAULT '{}'::text[],
    captured_from timestamptz,
    captured_to timestamptz,
    gaps jsonb NOT NULL DEFAULT '[]'::jsonb,
    gap_frames bigint NOT NULL DEFAULT 0,
    unreadable_frames bigint NOT NULL DEFAULT 0,
    number_first bigint,
    number_stride bigint,
    digest text NOT NULL DEFAULT '',
    scanned bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (experiment_id, name)
);
CREATE INDEX ix_datasets_experiment_id ON datasets (experiment_id);
CREATE TABLE frames (
    dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    index bigint NOT NULL,
    key text NOT NULL,
    number bigint,
    size bigint NOT NULL,
    etag text NOT NULL,
    format text,
    width integer,
    height integer,
    captured_at timestamptz,
    problem text,
    PRIMARY KEY (dataset_id, index)
);
CREATE TABLE sources (
    dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    number integer NOT NULL,
    key text NOT NULL,
    size bigint NOT NULL,
    etag text NOT NULL,
    codec text,
    width integer,
    height integer,
    first_index bigint NOT NULL,
    frame_count bigint NOT NULL,
    fps text,
    pts bytea NOT NULL,
    problem text,
    PRIMARY KEY (dataset_id, number)
);
COMMENT ON COLUMN sources.pts IS 'zlib of little-endian int64, ascending, one per picture';
CREATE TABLE renders (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
    dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    render_key text NOT NULL,
    request jsonb NOT NULL,
    options jsonb NOT NULL,
    stages jsonb NOT NULL DEFAULT '{}'::jsonb,
    estimate jsonb NOT NULL DEFAULT '{}'::jsonb,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    phase text NOT NULL DEFAULT 'queued',
    priority integer NOT NULL DEFAULT 0,
    frames_total bigint NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false,
    error jsonb,
    video_key text,
    video_bytes bigint,
    video_sha256 text,
    video_frames bigint,
    poster_key text,
    receipt_key text,
    summary jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX ix_renders_experiment_id ON renders (experiment_id);
CREATE INDEX ix_renders_render_key ON renders (render_key);
CREATE INDEX renders_created ON renders (created_at DESC, id DESC);
CREATE TABLE segments (
    render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE,
    number integer NOT NULL,
    first_output bigint NOT NULL,
    content_key text NOT NULL,
    frames jsonb NOT NULL,
    lead jsonb NOT NULL,
    reused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (render_id, number)
);
CREATE TABLE segment_cache (
    content_key text PRIMARY KEY,
    key text NOT NULL,
    bytes bigint NOT NULL,
    frames integer NOT NULL,
    encoder text NOT NULL,
    seconds jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('segment', 'assemble', 'scan')),
    render_id uuid REFERENCES renders ON DELETE CASCADE,
    dataset_id uuid REFERENCES datasets ON DELETE CASCADE,
    number integer,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    lease bigint NOT NULL DEFAULT 0,
    starts integer NOT NULL DEFAULT 0,
    worker text,
    progress bigint NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    error jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    heartbeat_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX ix_tasks_render_id ON tasks (render_id);
CREATE INDEX ix_tasks_dataset_id ON tasks (dataset_id);
CREATE TABLE idempotency_keys (
    subject text NOT NULL,
    key text NOT NULL,
    body_sha256 text NOT NULL,
    render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, key)
);
CREATE TABLE workers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    slots integer NOT NULL,
    version text NOT NULL,
    facts jsonb NOT NULL DEFAULT '{}'::jsonb,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);
"""

ROLE = """
DO $$ BEGIN
    CREATE ROLE reelmill_caller NOLOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$ BEGIN
    IF current_setting('server_version_num')::int < 160000 THEN
        EXECUTE format('GRANT reelmill_caller TO %I', current_user);
    ELSIF NOT pg_has_role(current_user, 'reelmill_caller', 'SET') THEN
        EXECUTE format('GRANT reelmill_caller TO %I', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO reelmill_caller;
GRANT SELECT, INSERT, UPDATE, DELETE ON experiments, datasets, renders TO reelmill_caller;
GRANT SELECT ON frames, sources TO reelmill_caller;
"""

POLICIES = """
CREATE FUNCTION reelmill_subject() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('reelmill.subject', true), '');
CREATE FUNCTION reelmill_admin() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('reelmill.admin', true), 'off') = 'on';
ALTER TABLE experiments ENABLE ROW LEVEL SECURITY;
ALTER TABLE datasets ENABLE ROW LEVEL SECURITY;
ALTER TABLE frames ENABLE ROW LEVEL SECURITY;
ALTER TABLE sources ENABLE ROW LEVEL SECURITY;
ALTER TABLE renders ENABLE ROW LEVEL SECURITY;
CREATE POLICY experiments_read ON experiments FOR SELECT TO reelmill_caller USING (
    owner = reelmill_subject() OR visibility = 'public'
    OR (visibility = 'shared' AND reelmill_subject() = ANY (shared_with)) OR reelmill_admin());
CREATE POLICY experiments_insert ON experiments FOR INSERT TO reelmill_caller
    WITH CHECK (owner = reelmill_subject() OR reelmill_admin());
CREATE POLICY experiments_update ON experiments FOR UPDATE TO reelmill_caller
    USING (owner = reelmill_subject() OR reelmill_admin()) WITH CHECK (owner = reelmill_subject() OR reelmill_admin());
CREATE POLICY experiments_delete ON experiments FOR DELETE TO reelmill_caller
    USING (owner = reelmill_subject() OR reelmill_admin());
CREATE POLICY datasets_read ON datasets FOR SELECT TO reelmill_caller
    USING (experiment_id IN (SELECT id FROM experiments));
CREATE POLICY datasets_write ON datasets FOR ALL TO reelmill_caller
    USING (experiment_id IN (SELECT id FROM experiments WHERE owner = reelmill_subject() OR reelmill_admin()))
    WITH CHECK (experiment_id IN (SELECT id FROM experiments WHERE owner = reelmill_subject() OR reelmill_admin()));
CREATE POLICY frames_read ON frames FOR SELECT TO reelmill_caller USING (dataset_id IN (SELECT id FROM datasets));
CREATE POLICY sources_read ON sources FOR SELECT TO reelmill_caller USING (dataset_id IN (SELECT id FROM datasets));
CREATE POLICY renders_read ON renders FOR SELECT TO reelmill_caller
    USING (owner = reelmill_subject() OR experiment_id IN (SELECT id FROM experiments) OR reelmill_admin());
CREATE POLICY renders_write ON renders FOR ALL TO reelmill_caller
    USING (owner = reelmill_subject() OR reelmill_admin()) WITH CHECK (owner = reelmill_subject() OR reelmill_admin());
"""


def upgrade() -> None:
    for script in (TABLES, ROLE, POLICIES):
        _execute(script)


def _execute(script: str) -> None:
    """asyncpg prepares statements, so several in one string are refused: send them one by one."""
    for statement in _statements(script):
        op.get_bind().exec_driver_sql(statement)


def _statements(script: str) -> list[str]:
    statements, current = [], ""
    for line in script.strip().splitlines():
        current += line + "\n"
        if line.rstrip().endswith(";") and current.count("$$") % 2 == 0:
            statements.append(current.strip().removesuffix(";"))
            current = ""
    return statements


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
