"""What guarded queries may read (views in the schema `ask`), and the audit of those queries."""

from alembic import op

revision = "0002"
down_revision = "0001"

AUDIT = (
    """
    CREATE TABLE query_audit (
        id uuid PRIMARY KEY,
        subject text NOT NULL,
        document jsonb NOT NULL,
        outcome text NOT NULL CHECK (outcome IN ('answered', 'refused', 'timed_out', 'failed')),
        rule text,
        figures jsonb NOT NULL DEFAULT '[]'::jsonb,
        row_count bigint NOT NULL DEFAULT 0,
        elapsed_ms double precision NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX query_audit_created ON query_audit (created_at)",
    "CREATE INDEX query_audit_subject ON query_audit (subject, created_at)",
    "ALTER TABLE query_audit ENABLE ROW LEVEL SECURITY",
    """
    CREATE POLICY query_audit_read ON query_audit FOR SELECT TO reelmill_caller
        USING (subject = reelmill_subject() OR reelmill_admin())
    """,
    "GRANT SELECT ON query_audit TO reelmill_caller",
)

# Each has the name of the table it shows. security_invoker: the reader's rights and policies hold, not the owner's. Not
# security_barrier: the policies on the tables below bar untrusted operators already, and a barrier on top would keep
# ORDER BY and LIMIT away from the indexes.
VIEWS = {
    "experiments": (
        "Experiments, with their owner and visibility",
        "SELECT id, name, description, metadata, owner, visibility, created_at, updated_at FROM experiments",
    ),
    "datasets": (
        "Ordered sequences of frames, and what the last scan found out about them",
        """
        SELECT d.id, d.experiment_id, e.name AS experiment_name, d.name, d.kind, d.bucket, d.prefix, d.state, d.error,
            d.frame_count, d.bytes, d.width, d.height, d.sizes, d.formats, d.captured_from, d.captured_to, d.gaps,
            d.gap_frames, d.unreadable_frames, d.number_first, d.number_stride, d.created_at, d.updated_at
        FROM datasets d LEFT JOIN experiments e ON e.id = d.experiment_id
        """,
    ),
    "frames": (
        "Single frames of datasets of the kind frames, in their place in the sequence",
        """
        SELECT f.dataset_id, d.experiment_id, d.name AS dataset_name, f.index, f.key, f.number, f.size, f.format,
            f.width, f.height, f.captured_at, f.problem
        FROM frames f JOIN datasets d ON d.id = f.dataset_id
        """,
    ),
    "sources": (
        "Source videos of datasets of the kind video",
        """
        SELECT s.dataset_id, d.experiment_id, d.name AS dataset_name, s.number, s.key, s.size, s.codec, s.width,
            s.height, s.first_index, s.frame_count, s.fps, s.problem
        FROM sources s JOIN datasets d ON d.id = s.dataset_id
        """,
    ),
    "renders": (
        "Videos that were asked for, and how far they are",
        """
        SELECT r.id, r.owner, r.experiment_id, e.name AS experiment_name, r.dataset_id, r.status, r.phase, r.priority,
            r.frames_total, r.options, r.stages, r.estimate, r.error, r.summary, r.video_bytes, r.video_frames,
            r.video_sha256, r.created_at, r.started_at, r.finished_at
        FROM renders r LEFT JOIN experiments e ON e.id = r.experiment_id
        """,
    ),
    "query_audit": (
        "Your own guarded queries, refused ones included",
        "SELECT id, subject, document, outcome, rule, figures, row_count, elapsed_ms, created_at FROM query_audit",
    ),
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in AUDIT:
        run(statement)
    run("CREATE SCHEMA ask")
    run("GRANT USAGE ON SCHEMA ask TO reelmill_caller")
    for name, (comment, query) in VIEWS.items():
        run(f"CREATE VIEW ask.{name} WITH (security_invoker = true) AS {query}")
        run(f"COMMENT ON VIEW ask.{name} IS '{comment}'")
        run(f"GRANT SELECT ON ask.{name} TO reelmill_caller")


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
