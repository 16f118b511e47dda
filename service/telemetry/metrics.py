"""Prometheus metrics. Each process (API, worker) has its own values."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

HTTP_REQUESTS = Counter(
    "reelmill_http_requests_total", "Requests answered", ("method", "route", "status"), registry=REGISTRY
)
HTTP_SECONDS = Histogram(
    "reelmill_http_request_seconds",
    "Seconds from the first byte of a request to the last of its response",
    ("method", "route"),
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
CONNECTIONS = Gauge("reelmill_connections", "Open connections of clients", registry=REGISTRY)
CONNECTIONS_CLOSED = Counter(
    "reelmill_connections_closed_total",
    "Connections that were refused or closed because of a limit",
    ("reason",),
    registry=REGISTRY,
)
EVENT_STREAMS = Gauge("reelmill_event_streams", "Open event streams", registry=REGISTRY)
QUEUE_DEPTH = Gauge("reelmill_queue_depth", "Queued and running tasks", ("kind", "state"), registry=REGISTRY)
QUERIES = Counter("reelmill_queries_total", "Guarded queries by outcome", ("outcome",), registry=REGISTRY)
QUERY_REFUSALS = Counter(
    "reelmill_query_refusals_total",
    "Rejected guarded queries by the first violated rule",
    ("rule",),
    registry=REGISTRY,
)
QUERY_SECONDS = Histogram(
    "reelmill_query_seconds",
    "Seconds from the document of a guarded query to its answer",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
AGENT_QUESTIONS = Counter(
    "reelmill_agent_questions_total", "Questions to the agent", ("kind", "outcome"), registry=REGISTRY
)
AGENT_TOKENS = Counter(
    "reelmill_agent_tokens_total",
    "Tokens that models read and wrote",
    ("role", "of"),
    registry=REGISTRY,
)
AGENT_MODEL_SECONDS = Histogram(
    "reelmill_agent_model_seconds",
    "Seconds that a model took for one step",
    ("role",),
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
CACHE_SEGMENTS = Gauge("reelmill_cache_segments", "Segments in the cache", registry=REGISTRY)
CACHE_BYTES = Gauge("reelmill_cache_bytes", "Bytes of the segments in the cache", registry=REGISTRY)
STORED_BYTES = Gauge(
    "reelmill_stored_bytes", "Bytes of uploads, results of renders and previews", ("kind",), registry=REGISTRY
)
ORPHAN_OBJECTS = Gauge(
    "reelmill_orphan_objects", "Objects that belong to nothing, by the last comparison", registry=REGISTRY
)
ORPHAN_BYTES = Gauge("reelmill_orphan_bytes", "Bytes of these objects", registry=REGISTRY)
LOST_OBJECTS = Gauge(
    "reelmill_lost_objects",
    "Objects that are gone or damaged, by the last comparison, which takes samples of `file` and `damaged`",
    ("kind",),
    registry=REGISTRY,
)
SPACE_FULL = Gauge(
    "reelmill_space_full", "1 while something waits for space there: see /health", ("place",), registry=REGISTRY
)
QUEUE_AGE = Gauge(
    "reelmill_queue_oldest_seconds", "Age of the oldest of these tasks", ("kind", "state"), registry=REGISTRY
)
DEAD_LETTERS = Gauge(
    "reelmill_dead_letters",
    "Tasks that have failed for good and were neither retried nor dismissed",
    ("lane", "code"),
    registry=REGISTRY,
)
RENDERS_SUBMITTED = Counter(
    "reelmill_renders_asked_total", "Submitted renders: new, or already known", ("answer",), registry=REGISTRY
)
BATCH_REQUESTS = Counter(
    "reelmill_batch_requests_total",
    "Render requests of batches, by status of their answers",
    ("status",),
    registry=REGISTRY,
)
SCHEDULE_RUNS = Counter(
    "reelmill_schedule_runs_total",
    "Attempts of schedules to render: submitted, joined (the render was there), retried or refused",
    ("outcome",),
    registry=REGISTRY,
)
SCHEDULE_TIMES_MISSED = Counter(
    "reelmill_schedule_times_missed_total", "Times of schedules for which a later run stands", registry=REGISTRY
)
BUCKET_EVENTS = Counter("reelmill_bucket_events_total", "Records of bucket notifications", registry=REGISTRY)
HINTS = Counter(
    "reelmill_hints_total", "Followed datasets that are looked at sooner because of an event", registry=REGISTRY
)
FILES_LOST = Counter(
    "reelmill_lost_files_total",
    "Files of the service that were gone or damaged when read",
    ("file",),
    registry=REGISTRY,
)

# A worker's metrics. Workers have no HTTP server: their rows in `workers` carry these to every API's /metrics.
WORKER_REGISTRY = CollectorRegistry()
FRAMES_RENDERED = Counter("reelmill_frames_rendered_total", "Frames written to segments", registry=WORKER_REGISTRY)
OBJECTS_FETCHED = Counter("reelmill_objects_fetched_total", "Source objects read", registry=WORKER_REGISTRY)
BYTES_FETCHED = Counter("reelmill_bytes_fetched_total", "Source bytes read", registry=WORKER_REGISTRY)
BYTES_ENCODED = Counter("reelmill_bytes_encoded_total", "Bytes of encoded segments", registry=WORKER_REGISTRY)
STAGE_SECONDS = Counter(
    "reelmill_stage_seconds_total", "Time segments spent in a stage", ("stage",), registry=WORKER_REGISTRY
)
SEGMENTS_REUSED = Counter("reelmill_segments_reused_total", "Segments found in the cache", registry=WORKER_REGISTRY)
SEGMENTS_EVICTED = Counter(
    "reelmill_segments_evicted_total", "Segments dropped from the cache", registry=WORKER_REGISTRY
)
BYTES_EVICTED = Counter(
    "reelmill_bytes_evicted_total", "Bytes of segments dropped from the cache", registry=WORKER_REGISTRY
)
RENDERS_EXPIRED = Counter(
    "reelmill_renders_expired_total", "Renders deleted because of their age", registry=WORKER_REGISTRY
)
BYTES_EXPIRED = Counter(
    "reelmill_bytes_expired_total", "Bytes of renders deleted because of their age", registry=WORKER_REGISTRY
)
ORPHANS_REMOVED = Counter(
    "reelmill_orphans_removed_total",
    "Objects whose removal was scheduled because they had belonged to nothing for a day",
    registry=WORKER_REGISTRY,
)
UPLOADS_ABORTED = Counter(
    "reelmill_uploads_aborted_total",
    "Uploads into the object store that began a day ago and never ended",
    registry=WORKER_REGISTRY,
)
SEGMENTS_DAMAGED = Counter(
    "reelmill_segments_damaged_total",
    "Segments rendered again because an object of theirs was gone or damaged",
    registry=WORKER_REGISTRY,
)
FOLLOWED_OBJECTS = Counter(
    "reelmill_followed_objects_total",
    "Objects that scans of followed datasets found appended, late, replaced or vanished",
    ("change",),
    registry=WORKER_REGISTRY,
)
LOOKS = Counter(
    "reelmill_looks_total",
    "Looks at followed datasets: what was listed (tail, whole), and what came of it (unchanged, changed, failed, lost)",
    ("listing", "outcome"),
    registry=WORKER_REGISTRY,
)
TASKS_LOST = Counter(
    "reelmill_tasks_lost_total",
    "Tasks that were queued again because their worker sent no heartbeats",
    registry=WORKER_REGISTRY,
)
INVARIANTS_REPAIRED = Counter(
    "reelmill_invariants_repaired_total",
    "Renders and tasks that did not fit together and were repaired, by invariant",
    ("invariant",),
    registry=WORKER_REGISTRY,
)
TASK_FAILURES = Counter(
    "reelmill_task_failures_total", "Tasks that failed", ("kind", "reason"), registry=WORKER_REGISTRY
)
ATTEMPTS = Counter(
    "reelmill_attempts_total",
    "Attempts of tasks: how they ended (code), and what becomes of the task (succeeded, retried, failed, cancelled)",
    ("kind", "code", "outcome"),
    registry=WORKER_REGISTRY,
)
FALLBACKS = Counter(
    "reelmill_fallbacks_total",
    "Frames that fell back to another path",
    ("stage", "reason"),
    registry=WORKER_REGISTRY,
)

ESTIMATE_RATIO = Histogram(
    "reelmill_estimate_ratio",
    "Actual over estimated seconds of renders",
    buckets=(0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4),
    registry=WORKER_REGISTRY,
)


def collect_worker_metrics() -> list[dict[str, Any]]:
    """All samples of WORKER_REGISTRY, as JSON."""
    return [
        {
            "family": family.name,
            "type": family.type,
            "name": sample.name,
            "help": family.documentation,
            "labels": sample.labels,
            "value": sample.value,
        }
        for family in WORKER_REGISTRY.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
