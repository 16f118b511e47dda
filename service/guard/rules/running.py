"""The bounds that only the database and the clock can decide."""

from service.guard.rules.rule import Limit

CONCURRENCY = Limit(
    "concurrency",
    "queries of one caller that run at once in one process",
    "wait for your other queries to end",
    lambda settings: settings.concurrency,
)
PLAN_COST = Limit(
    "plan_cost",
    "PostgreSQL's cost estimate of the costliest step of the plan, rounded up to one digit",
    "filter by the table's key or by dataset_id, experiment_id or created_at",
    lambda settings: settings.max_cost,
)
STATEMENT_TIME = Limit(
    "statement_ms",
    "milliseconds that the query ran",
    "filter by the table's key or by dataset_id, experiment_id or created_at, or ask for fewer rows",
    lambda settings: round(settings.timeout_s * 1000),
)
RESULT_BYTES = Limit(
    "result_bytes",
    "bytes of JSON in the rows; rows beyond it are left for the next answer",
    "name only the columns you need",
    lambda settings: settings.max_bytes,
)
RUNTIME_LIMITS = (CONCURRENCY, PLAN_COST, STATEMENT_TIME, RESULT_BYTES)
