"""What each live worker found of its devices, and what their canaries proved."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    """CREATE TABLE devices (
        worker_id uuid NOT NULL REFERENCES workers ON DELETE CASCADE,
        device text NOT NULL,
        facts jsonb NOT NULL,
        looked_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (worker_id, device)
    )""",
    """CREATE TABLE capabilities (
        worker_id uuid NOT NULL,
        device text NOT NULL,
        stage text NOT NULL CHECK (stage IN ('decode', 'transform', 'encode')),
        what text NOT NULL,
        state text NOT NULL CHECK (state IN ('ok', 'degraded', 'quarantined', 'absent', 'unknown')),
        reason text NOT NULL,
        proven_at timestamptz,
        rate double precision,
        faults integer NOT NULL DEFAULT 0,
        next_at timestamptz,
        PRIMARY KEY (worker_id, device, stage, what),
        FOREIGN KEY (worker_id, device) REFERENCES devices ON DELETE CASCADE
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
