"""Settings of a worker."""

import os

from pydantic import AliasChoices, Field, field_validator

from service.environment import EnvironmentSettings
from service.jobs.fairness import parse_weights
from service.store.settings import StorageLimits

CUDA_MEMORY_MB = 12288  # for the libraries of CUDA and page-locked memory


# A day. Timers take no endless number of seconds.
MAX_SECONDS = 86_400


class WorkerSettings(EnvironmentSettings):
    """Slots, their limits, the cache, and how often devices are tested."""

    slots: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=256,
        validation_alias="REELMILL_SLOTS",
        description="slots of a worker, each of two processes; unset: one per usable core",
    )
    zone: str = Field(
        default="",
        max_length=100,
        validation_alias="REELMILL_ZONE",
        description="where the machine is, in any words; `reelmill workers` shows it",
    )
    frame_timeout_s: float = Field(
        default=60,
        gt=0,
        le=MAX_SECONDS,
        validation_alias="REELMILL_FRAME_TIMEOUT",
        description="seconds without progress before a slot is killed",
    )
    slot_memory_mb: int = Field(
        default=4096,
        ge=256,
        le=2**24,
        validation_alias="REELMILL_SLOT_MEMORY_MB",
        description="memory limit of each process of a slot, MiB; one that has opened a GPU gets 12288 more",
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        le=MAX_SECONDS,
        validation_alias=AliasChoices("REELMILL_SHUTDOWN_TIMEOUT", "REELMILL_DRAIN"),
        description="seconds that running tasks get to finish when the worker stops",
    )
    prefetch_mb: int = 8  # of frames that a slot fetches ahead of its decoder: tens of camera JPEGs
    cache_bytes: int = Field(
        default=20 * 2**30,
        ge=0,
        le=2**60,
        validation_alias="REELMILL_CACHE_BYTES",
        description="size of the segment cache, bytes (previews: a tenth more); segments in use are never evicted",
    )
    cache_days: float = 30  # since the last use of a segment; the disk is bounded by cache_bytes
    storage: StorageLimits = Field(default_factory=StorageLimits)  # for the maintenance
    canary_period_s: float = 10  # between two self-tests of a GPU: a fault is noticed within 30 s
    cpu_canary_start_s: float = 15  # after the worker's start: whoever starts one has work for its cores
    cpu_canary_period_s: float = 300  # the CPU rarely breaks; after a fault it is tested as soon as a slot is free
    canary_timeout_s: float = 8  # a slower canary counts as hung; time spent waiting for a core is not counted
    gpu_slots: int | None = Field(
        default=None,
        ge=0,
        le=256,
        validation_alias="REELMILL_GPU_SLOTS",
        description="slots that may share one GPU, the others use the CPU only; 0: GPUs are not used; unset: all "
        "slots, distributed round-robin",
    )

    caller_weights: str = Field(
        default="",
        validation_alias="REELMILL_CALLER_WEIGHTS",
        description="shares of the slots, for callers whose share is not 1: `alice=2,batch=0.5`, or a JSON object; "
        "from 0.01 to 100",
    )

    @field_validator("caller_weights")
    @classmethod
    def _check_weights(cls, value: str) -> str:
        parse_weights(value)
        return value

    @property
    def weights(self) -> dict[str, float]:
        """Subject -> weight."""
        return parse_weights(self.caller_weights)

    @property
    def gpu_slot_memory_mb(self) -> int:
        """The memory limit of a codec process that has opened a GPU."""
        return self.slot_memory_mb + CUDA_MEMORY_MB
