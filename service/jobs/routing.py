"""Which worker may take which task, as conditions in SQL: of the table `workers`, and of tasks and their renders.

A worker says in its facts which version of the pipeline it has and what it `offers`; those of a version that does not
say it take anything. A cordoned worker, or one that drains, takes nothing.
"""

from dataclasses import dataclass
from uuid import UUID

from service.plan.needs import BUILT_IN, GPU_ENCODER
from service.plan.placement import NVENC_CODECS
from service.plan.render_plan import PIPELINE_VERSION

# A worker sends a heartbeat every three seconds.
IS_LIVE = "heartbeat_at > now() - interval '15 seconds'"
IS_ACTIVE = f"{IS_LIVE} AND state = 'active'"
PIPELINE = f"coalesce((facts ->> 'pipeline')::int, {PIPELINE_VERSION})"
OFFERS = "(NOT facts ? 'offers' OR facts -> 'offers' @> to_jsonb({needs}))"

_GPU_NEEDS = ", ".join(f"'{GPU_ENCODER} {codec}'" for codec in NVENC_CODECS)
# Encoders of GPUs that no worker offers any more: whoever takes such a task has the render planned for a CPU.
_LOST_ENCODERS = f"""
    ARRAY(SELECT need FROM unnest(ARRAY[{_GPU_NEEDS}]) AS need WHERE NOT EXISTS (
        SELECT FROM workers WHERE {IS_ACTIVE} AND {PIPELINE} >= {PIPELINE_VERSION}
            AND {OFFERS.format(needs="ARRAY[need]")}))
"""
# Of a task, for the parameter `offers`. Who has lost an encoder is looked up only where it matters.
CAN_DO = f"({{needs}} <@ CAST(:offers AS text[]) OR {{needs}} <@ (CAST(:offers AS text[]) || {_LOST_ENCODERS}))"
# For the parameter `worker`.
MAY_TAKE = "NOT EXISTS (SELECT FROM workers WHERE id = CAST(:worker AS uuid) AND state <> 'active')"


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes tasks: the worker's name and id, and what the slot offers that is free."""

    name: str = ""
    id: UUID | None = None
    offers: frozenset[str] = BUILT_IN


ANYBODY = Taker()
