"""Presets: named sets of render options; and which presets the requests for a render have named."""

from alembic import op

revision = "0021"
down_revision = "0020"

PRESETS = (
    """CREATE TABLE presets (
        id uuid PRIMARY KEY,
        name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
        description text NOT NULL DEFAULT '',
        options jsonb NOT NULL DEFAULT '{}'::jsonb,
        owner text NOT NULL,
        visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'shared', 'public')),
        shared_with text[] NOT NULL DEFAULT '{}'::text[],
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (owner, name)
    )""",
    "CREATE INDEX presets_created ON presets (created_at DESC, id DESC)",
    "CREATE INDEX presets_name ON presets (name)",
    "ALTER TABLE presets ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY presets_read ON presets FOR SELECT TO reelmill_caller
        USING (reelmill_may_read(owner, visibility, shared_with, reelmill_subject()) OR reelmill_admin())""",
    """CREATE POLICY presets_insert ON presets FOR INSERT TO reelmill_caller
        WITH CHECK (owner = reelmill_subject() OR reelmill_admin())""",
    """CREATE POLICY presets_update ON presets FOR UPDATE TO reelmill_caller
        USING (owner = reelmill_subject() OR reelmill_admin())
        WITH CHECK (owner = reelmill_subject() OR reelmill_admin())""",
    """CREATE POLICY presets_delete ON presets FOR DELETE TO reelmill_caller
        USING (owner = reelmill_subject() OR reelmill_admin())""",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON presets TO reelmill_caller",
)

# A preset may be deleted while renders that were asked for with it stay.
NAMED = (
    """CREATE TABLE render_presets (
        render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE,
        preset_id uuid NOT NULL,
        subject text NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (render_id, preset_id, subject)
    )""",
    "CREATE INDEX render_presets_preset ON render_presets (preset_id)",
    "ALTER TABLE render_presets ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY render_presets_read ON render_presets FOR SELECT TO reelmill_caller
        USING (EXISTS (SELECT FROM renders r WHERE r.id = render_id)
            AND EXISTS (SELECT FROM presets p WHERE p.id = preset_id))""",
    "GRANT SELECT ON render_presets TO reelmill_caller",
)

# The newest finished render of an experiment or dataset.
LATEST = (
    "CREATE INDEX renders_of_experiment ON renders (experiment_id, created_at DESC, id DESC)",
    "DROP INDEX ix_renders_experiment_id",
    "CREATE INDEX renders_of_dataset ON renders (dataset_id, created_at DESC, id DESC)",
)


def upgrade() -> None:
    for statement in (*PRESETS, *NAMED, *LATEST):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
