"""The tables, for SQLAlchemy Core. Migrations create them, with their row-level security."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

metadata = MetaData()


def _id_column() -> Column[object]:
    return Column("id", UUID(as_uuid=True), primary_key=True)


def timestamp_column(name: str, *, required: bool = True) -> Column[object]:
    default = func.now() if required else None
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=default)


def _shared_table(name: str, document: str) -> Table:
    """What people own, name and share; `document` is the column of what is in it."""
    return Table(
        name,
        metadata,
        _id_column(),
        Column("name", Text, nullable=False),
        Column("description", Text, nullable=False, server_default=""),
        Column(document, JSONB, nullable=False, server_default=text("'{}'::jsonb")),
        Column("owner", Text, nullable=False),
        Column("visibility", Text, nullable=False, server_default="private"),
        Column("shared_with", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        timestamp_column("created_at"),
        timestamp_column("updated_at"),
    )


def _table_of_renders(name: str, *columns: Column[Any]) -> Table:
    """What renders have: it is deleted with them."""
    render: Column[Any] = Column("render_id", ForeignKey("renders.id", ondelete="CASCADE"), primary_key=True)
    return Table(name, metadata, render, *columns)


experiments = _shared_table("experiments", "metadata")
presets = _shared_table("presets", "options")

datasets = Table(
    "datasets",
    metadata,
    _id_column(),
    Column("experiment_id", ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="empty"),
    Column("error", Text),
    Column("frame_count", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("width", Integer),
    Column("height", Integer),
    Column("sizes", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("formats", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("captured_from", DateTime(timezone=True)),
    Column("captured_to", DateTime(timezone=True)),
    Column("gaps", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("gap_frames", BigInteger, nullable=False, server_default="0"),
    Column("unreadable_frames", BigInteger, nullable=False, server_default="0"),
    Column("number_first", BigInteger),
    Column("number_stride", BigInteger),
    Column("digest", Text, nullable=False, server_default=""),
    Column("scanned", BigInteger, nullable=False, server_default="0"),
    Column("levels", JSONB),
    Column("forms", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("cadence", JSONB, comment="the usual time between frames, and where frames are missing by it"),
    Column("field_orders", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="pictures of each"),
    Column("excluded", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="left out by the last scan"),
    Column("problems", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="why frames are unreadable"),
    Column("source_grant", Text, comment="who was let in beside those whom MINIO_SOURCES names: see source_rules"),
    Column("uploads_until", DateTime(timezone=True), comment="when the last presigned upload URL expires"),
    timestamp_column("created_at"),
    timestamp_column("updated_at"),
)

frames = Table(
    "frames",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("key", Text, nullable=False),
    Column("number", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("format", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("captured_at", DateTime(timezone=True)),
    Column("problem", Text),
    Column("page", Integer),
    Column("page_offset", BigInteger, nullable=False, server_default="0"),
    Column("bits", Integer),
    Column("gray", Boolean),
    Column("form", Text),
    Column("captured_named", Boolean, comment="captured_at is from the name; null: scanned before version 0023"),
)

sources = Table(
    "sources",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("codec", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("first_index", BigInteger, nullable=False),
    Column("frame_count", BigInteger, nullable=False),
    Column("fps", Text),
    Column("pts", LargeBinary, nullable=False, comment="zlib of little-endian int64, ascending, one per picture"),
    Column("problem", Text),
    Column("pixel_aspect", Text, comment="width to height of a pixel as shown, as a fraction; null if unknown"),
    Column("colour", JSONB, comment="primaries, transfer, matrix and range of the samples (Rec. ITU-T H.273)"),
    Column("fields", Text, comment="progressive, top or bottom field first, or mixed; null if unknown"),
    Column("packets", LargeBinary, comment="as pts: the packet of each picture, where pts only counts them; else null"),
)

renders = Table(
    "renders",
    metadata,
    _id_column(),
    Column("owner", Text, nullable=False),
    Column("experiment_id", ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    Column("render_key", Text, nullable=False, index=True),
    Column("request", JSONB, nullable=False),
    Column("options", JSONB, nullable=False),
    Column("stages", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("estimate", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("phase", Text, nullable=False, server_default="queued"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("frames_total", BigInteger, nullable=False),
    Column("pipeline", Integer, nullable=False, server_default="0", comment="older workers take no tasks of it"),
    Column("needs", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]"), comment="of its segments"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("error", JSONB),
    Column("video_key", Text),
    Column("video_bytes", BigInteger),
    Column("video_sha256", Text),
    Column("video_frames", BigInteger),
    Column("stored_bytes", BigInteger, comment="of all files of the render together"),
    Column("poster_key", Text),
    Column("receipt_key", Text),
    Column("digests", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="sha256 by file name"),
    Column("video_etag", Text, comment="of the object whose bytes are known to have video_sha256"),
    Column("remake", JSONB, comment="which file is made again, and why; null otherwise"),
    timestamp_column("remade_at", required=False),
    Column("summary", JSONB),
    timestamp_column("created_at"),
    timestamp_column("started_at", required=False),
    timestamp_column("finished_at", required=False),
)

requesters = _table_of_renders(
    "requesters",
    Column("subject", Text, primary_key=True, index=True),
    Column("admin", Boolean, nullable=False, server_default=text("false"), comment="asked with the scope admin"),
    Column("priority", Integer, nullable=False, server_default="0"),
    timestamp_column("created_at"),
    timestamp_column("asked_at"),
    Column("keep_days", Integer, comment="how long it is kept for this requester; null: as all are"),
)

render_presets = _table_of_renders(
    "render_presets",
    Column("preset_id", UUID(as_uuid=True), primary_key=True, comment="it may have been deleted since"),
    Column("subject", Text, primary_key=True, comment="who named it"),
    Column("name", Text, nullable=False, comment="which it had then"),
    timestamp_column("created_at"),
)

# The datasets that a grid shows beside that of its render.
_of_dataset = ForeignKey("datasets.id", ondelete="CASCADE")
render_panels = _table_of_renders("render_panels", Column("dataset_id", _of_dataset, primary_key=True, index=True))

segments = _table_of_renders(
    "segments",
    Column("number", Integer, primary_key=True),
    Column("first_output", BigInteger, nullable=False),
    Column("content_key", Text, nullable=False),
    Column("frames", JSONB, nullable=False),
    Column("lead", JSONB, nullable=False),
    Column("reused", Boolean, nullable=False, server_default=text("false")),
    Column("planned", Text, comment="seconds of video when no frame is skipped, as a fraction"),
    Column("pipeline", Text, comment="version of the pipeline that made or planned it; null: before version 8"),
    Column("transient", Boolean, nullable=False, server_default=text("false"), comment="another attempt may differ"),
)

segment_cache = Table(
    "segment_cache",
    metadata,
    Column("content_key", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("seconds", JSONB, nullable=False),
    Column("duration", Text, comment="seconds of video, as a fraction"),
    Column("digests", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="sha256 by name of the file"),
    timestamp_column("created_at"),
    timestamp_column("used_at"),
)

previews = Table(
    "previews",
    metadata,
    Column("key", Text, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("render_id", ForeignKey("renders.id", ondelete="CASCADE"), index=True, comment="of a video's frame"),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("transient", Boolean, nullable=False, server_default=text("false"), comment="the next may show another"),
    timestamp_column("created_at"),
)

_LANE = """CASE WHEN kind = 'webhook' THEN 'webhook' WHEN urgent OR kind IN ('scan', 'preview') THEN 'urgent'
    ELSE 'render' END"""

tasks = Table(
    "tasks",
    metadata,
    _id_column(),
    Column("kind", Text, nullable=False),
    Column("render_id", ForeignKey("renders.id", ondelete="CASCADE"), index=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), index=True),
    Column("number", Integer),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("lease", BigInteger, nullable=False, server_default="0"),
    Column("starts", Integer, nullable=False, server_default="0"),
    Column("worker", Text),
    Column("progress", BigInteger, nullable=False, server_default="0"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("error", JSONB),
    Column("payload", JSONB),
    Column("owner", Text, nullable=False, server_default="", comment="who waits for it; empty: who owns the render"),
    Column("urgent", Boolean, nullable=False, server_default=text("false"), comment="somebody looks at it now"),
    Column("device", Text, nullable=False, server_default="cpu", comment="on which the last attempt runs or ran"),
    Column("needs", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]"), comment="see plan.needs"),
    Column("frames", Integer, nullable=False, server_default="0", comment="output frames of a segment"),
    Column("lane", Text, Computed(_LANE, persisted=True), nullable=False, comment="see jobs.picking"),
    timestamp_column("due_at"),
    timestamp_column("created_at"),
    timestamp_column("started_at", required=False),
    timestamp_column("heartbeat_at", required=False),
    timestamp_column("finished_at", required=False),
    Column("dismissed_at", DateTime(timezone=True), comment="since when its failure is no dead letter any more"),
    Column("dismissed_by", Text, comment="null: another task took its place"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("task_id", UUID(as_uuid=True), nullable=False),
    Column("render_id", ForeignKey("renders.id", ondelete="CASCADE")),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE")),
    Column("kind", Text, nullable=False),
    Column("number", Integer),
    Column("worker", Text),
    Column("device", Text, nullable=False, server_default="cpu"),
    timestamp_column("started_at", required=False),
    timestamp_column("ended_at"),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("item", Text, nullable=False, server_default="", comment="frame or object during which the slot ended"),
    Column("counted", Boolean, nullable=False, comment="false: the infrastructure ended it, not the task"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", Text, nullable=False),
    Column("render_id", ForeignKey("renders.id", ondelete="CASCADE"), nullable=False),
    timestamp_column("created_at"),
)

workers = Table(
    "workers",
    metadata,
    _id_column(),
    Column("name", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="active", comment="active, cordoned or draining"),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    timestamp_column("started_at"),
    timestamp_column("heartbeat_at"),
)

query_audit = Table(
    "query_audit",
    metadata,
    _id_column(),
    Column("subject", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("rule", Text),
    Column("figures", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("row_count", BigInteger, nullable=False, server_default="0"),
    Column("elapsed_ms", Double, nullable=False),
    timestamp_column("created_at"),
)

signing_keys = Table(
    "signing_keys", metadata, Column("name", Text, primary_key=True), Column("key", LargeBinary, nullable=False)
)

removals = Table(
    "removals",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("prefix", Text, primary_key=True),
    timestamp_column("due_at"),
    timestamp_column("scheduled_at"),
    Column("repeat_until", DateTime(timezone=True), comment="until when something may still be written there"),
    Column("modified_after", DateTime(timezone=True), comment="if set, older objects stay"),
)

upload_areas = Table(
    "upload_areas",
    metadata,
    Column("dataset_id", UUID(as_uuid=True), primary_key=True, comment="it may have been deleted without its uploads"),
    Column("experiment_id", UUID(as_uuid=True), nullable=False),
    Column("owner", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False, server_default="0", comment="stored and announced ones"),
    Column("recount_at", DateTime(timezone=True), comment="when what is stored is counted; null: nothing has changed"),
)

upload_reservations = Table(
    "upload_reservations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("dataset_id", ForeignKey("upload_areas.dataset_id", ondelete="CASCADE"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

consistency_checks = Table(
    "consistency_checks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False, server_default="0", comment="of the part that is checked next"),
    Column("started_at", DateTime(timezone=True), nullable=False, comment="when the last part was begun"),
    Column("running", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="findings of this round"),
    Column("finished", JSONB, comment="findings of the last whole round"),
    Column("finished_at", DateTime(timezone=True)),
)

maintenance_rounds = Table(
    "maintenance_rounds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("begun_at", DateTime(timezone=True), nullable=False, comment="when a worker last did it for all"),
)

webhooks = _table_of_renders(
    "webhooks",
    Column("url", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    timestamp_column("created_at"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    _id_column(),
    Column("subject", Text, nullable=False, index=True),
    Column("key", LargeBinary, nullable=False),
    timestamp_column("created_at"),
)
