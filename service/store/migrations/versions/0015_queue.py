"""The rows of tasks are the queue: PgQueuer's own tables, which said the same a second time, are gone."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    """ALTER TABLE tasks
        ADD COLUMN owner text NOT NULL DEFAULT '',
        ADD COLUMN urgent boolean NOT NULL DEFAULT false,
        ADD COLUMN device text NOT NULL DEFAULT 'cpu',
        ADD COLUMN due_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN lane text NOT NULL GENERATED ALWAYS AS (CASE
            WHEN kind = 'webhook' THEN 'webhook'
            WHEN urgent OR kind IN ('scan', 'preview') THEN 'urgent'
            ELSE 'render' END) STORED""",
    "ALTER TABLE renders ADD COLUMN pipeline integer NOT NULL DEFAULT 0",
    "UPDATE tasks SET owner = coalesce(payload ->> 'owner', '') WHERE kind = 'webhook'",
    """UPDATE tasks t SET owner = e.owner FROM datasets d JOIN experiments e ON e.id = d.experiment_id
        WHERE d.id = t.dataset_id AND t.kind IN ('scan', 'preview')""",
    "CREATE INDEX tasks_waiting ON tasks (lane, owner, created_at) WHERE state = 'queued' AND lane <> 'render'",
    "CREATE INDEX tasks_of_render_waiting ON tasks (render_id, number) WHERE state = 'queued' AND lane = 'render'",
    "CREATE INDEX tasks_running ON tasks (heartbeat_at) WHERE state = 'running'",
    "CREATE INDEX renders_unfinished ON renders (created_at) WHERE status IN ('queued', 'running')",
    "DROP SCHEMA IF EXISTS queue CASCADE",
    """CREATE TABLE attempts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_id uuid NOT NULL,
        render_id uuid REFERENCES renders ON DELETE CASCADE,
        dataset_id uuid REFERENCES datasets ON DELETE CASCADE,
        kind text NOT NULL,
        number integer,
        worker text,
        device text NOT NULL DEFAULT 'cpu',
        started_at timestamptz,
        ended_at timestamptz NOT NULL DEFAULT now(),
        code text NOT NULL,
        reason text NOT NULL,
        item text NOT NULL DEFAULT '',
        counted boolean NOT NULL
    )""",
    "CREATE INDEX attempts_render ON attempts (render_id, ended_at)",
    "CREATE INDEX attempts_dataset ON attempts (dataset_id)",
    "CREATE INDEX attempts_task ON attempts (task_id)",
    "CREATE INDEX attempts_ended ON attempts (ended_at)",
    "ALTER TABLE attempts ENABLE ROW LEVEL SECURITY",
)

# Every change of a state goes through these tables, whatever statement makes it.
TRANSITIONS = (
    """CREATE TABLE transitions (
        machine text NOT NULL, before text NOT NULL, after text NOT NULL, why text NOT NULL,
        PRIMARY KEY (machine, before, after)
    )""",
    "ALTER TABLE transitions ENABLE ROW LEVEL SECURITY",
    """INSERT INTO transitions VALUES
        ('task', 'queued', 'running', 'a worker takes it'),
        ('task', 'queued', 'cancelled', 'its render ends'),
        ('task', 'running', 'succeeded', 'it is done'),
        ('task', 'running', 'failed', 'it cannot be done'),
        ('task', 'running', 'cancelled', 'its render ends, or it is replaced'),
        ('task', 'running', 'queued', 'it is tried again, or its worker is lost'),
        ('task', 'failed', 'queued', 'its render is retried'),
        ('task', 'cancelled', 'queued', 'its render is retried'),
        ('task', 'succeeded', 'queued', 'its render is retried, and frames were missing for a moment'),
        ('render', 'queued', 'running', 'its first task starts'),
        ('render', 'queued', 'cancelled', 'nobody wants it any more'),
        ('render', 'queued', 'failed', 'a task of it fails before it has started'),
        ('render', 'queued', 'succeeded', 'a file beside its video was not made again'),
        ('render', 'running', 'succeeded', 'its video is published'),
        ('render', 'running', 'failed', 'a task of it fails'),
        ('render', 'running', 'cancelled', 'nobody wants it any more'),
        ('render', 'failed', 'queued', 'it is retried'),
        ('render', 'cancelled', 'queued', 'it is retried'),
        ('render', 'succeeded', 'queued', 'a file of it is made again')""",
    *(
        f"""CREATE FUNCTION reelmill_check_{machine}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NOT EXISTS (SELECT FROM transitions
                WHERE machine = '{machine}' AND before = OLD.{column} AND after = NEW.{column}) THEN
                RAISE EXCEPTION 'a {machine} does not go from % to %', OLD.{column}, NEW.{column}
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$"""
        for machine, column in (("task", "state"), ("render", "status"))
    ),
    *(
        f"""CREATE TRIGGER check_transition BEFORE UPDATE OF {column} ON {machine}s FOR EACH ROW
            WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION reelmill_check_{machine}()"""
        for machine, column in (("task", "state"), ("render", "status"))
    ),
)


def upgrade() -> None:
    for statement in (*STATEMENTS, *TRANSITIONS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
