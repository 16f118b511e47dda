"""What an operator may set about a worker."""

import os

from pydantic import Field

from service.environment import EnvironmentSettings


class WorkerSettings(EnvironmentSettings):
    """Slots and their bounds."""

    slots: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=256,
        validation_alias="REELMILL_SLOTS",
        description="slot processes of a worker; unset: one per usable core",
    )
    frame_timeout_s: float = Field(
        default=60,
        gt=0,
        validation_alias="REELMILL_FRAME_TIMEOUT",
        description="seconds without progress before a slot is killed",
    )
    slot_memory_mb: int = Field(
        default=4096,
        ge=256,
        validation_alias="REELMILL_SLOT_MEMORY_MB",
        description="memory limit of a slot process, MiB",
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        validation_alias="REELMILL_DRAIN",
        description="seconds a stopping worker gives the tasks under way",
    )
    prefetch_mb: int = Field(
        default=8,
        ge=1,
        validation_alias="REELMILL_PREFETCH_MB",
        description="frames a slot fetches ahead of its decoder, MiB",
    )
    cache_bytes: int = Field(
        default=20 * 2**30,
        ge=0,
        validation_alias="REELMILL_CACHE_BYTES",
        description="segments kept for reuse, bytes (previews: a tenth more); what is in use may exceed it",
    )
    cache_days: float = Field(
        default=30,
        ge=0,
        validation_alias="REELMILL_CACHE_DAYS",
        description="days that a segment is kept after its last use, and a preview after it was made",
    )
    canary_period_s: float = Field(
        default=10,
        gt=0,
        le=3600,
        validation_alias="REELMILL_CANARY_PERIOD",
        description="seconds between two proofs of a GPU; with the default a fault is noticed within 30 s",
    )
    cpu_canary_period_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        validation_alias="REELMILL_CPU_CANARY_PERIOD",
        description="seconds between two proofs of the CPU; after a fault both are proven at once",
    )
    canary_timeout_s: float = Field(
        default=8,
        gt=0,
        le=300,
        validation_alias="REELMILL_CANARY_TIMEOUT",
        description="seconds after which a canary hangs; time in which it waits for a core is not counted",
    )
    gpu_slots: int | None = Field(
        default=None,
        ge=0,
        le=256,
        validation_alias="REELMILL_GPU_SLOTS",
        description="slots that share one GPU, the others use the CPU only; 0: no GPU is looked at; unset: all, dealt "
        "out over them",
    )
    gpu_slot_memory_mb: int = Field(
        default=16384,
        ge=1024,
        validation_alias="REELMILL_GPU_SLOT_MEMORY_MB",
        description="memory limit of a slot process that has opened a GPU, MiB",
    )
