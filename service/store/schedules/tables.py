"""The tables of schedules and their runs. A migration creates them, with their row-level security."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from service.store.tables import metadata

schedules = Table(
    "schedules",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("experiment_id", ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("request", JSONB, nullable=False, comment="body of a render request, as it was sent"),
    Column("cron", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("time_window", Text, comment="see schedules.windows; null: the frames that the request names"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("next_run_at", DateTime(timezone=True), comment="the first time without a run; null: there is none"),
    Column("planned_until", DateTime(timezone=True), nullable=False, comment="earlier times have a run, or want none"),
    Column("covered_until", DateTime(timezone=True), comment="end of the capture times that the last run shows"),
    Column("run_count", BigInteger, nullable=False, server_default="0"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("schedule_id", ForeignKey("schedules.id", ondelete="CASCADE"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("planned_at", DateTime(timezone=True), nullable=False),
    Column("manual", Boolean, nullable=False, server_default=text("false")),
    Column("missed", Integer, nullable=False, server_default="0", comment="earlier times that it stands for"),
    Column("window_from", DateTime(timezone=True)),
    Column("window_to", DateTime(timezone=True), comment="null: the frames that the request names"),
    Column("state", Text, nullable=False, server_default="waiting", comment="waiting, submitted or refused"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at", DateTime(timezone=True), comment="when it is tried next; null: it has ended"),
    Column("render_id", UUID(as_uuid=True), comment="it may have been deleted since"),
    Column("joined", Boolean, nullable=False, server_default=text("false"), comment="the render was there already"),
    Column("problem", JSONB, comment="why it was refused last"),
    Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
