"""Settings of a worker."""

import os

from pydantic import AliasChoices, Field

from service.environment import EnvironmentSettings

CUDA_MEMORY_MB = 12288  # for the libraries of CUDA and page-locked memory


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
        description="memory limit of a slot process, MiB; one that has opened a GPU gets 12288 more",
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        validation_alias=AliasChoices("REELMILL_SHUTDOWN_TIMEOUT", "REELMILL_DRAIN"),
        description="seconds a stopping worker gives the tasks under way",
    )
    prefetch_mb: int = 8  # of frames that a slot fetches ahead of its decoder: tens of camera JPEGs
    cache_bytes: int = Field(
        default=20 * 2**30,
        ge=0,
        validation_alias="REELMILL_CACHE_BYTES",
        description="segments kept for reuse, bytes (previews: a tenth more); what is in use may exceed it",
    )
    cache_days: float = 30  # since the last use of a segment; the disk is bounded by cache_bytes
    canary_period_s: float = 10  # between two proofs of a GPU: a fault is noticed within 30 s
    cpu_canary_period_s: float = 300  # the CPU rarely breaks; after a fault it is proven at once
    canary_timeout_s: float = 8  # the time in which a canary waits for a core is not counted
    gpu_slots: int | None = Field(
        default=None,
        ge=0,
        le=256,
        validation_alias="REELMILL_GPU_SLOTS",
        description="slots that share one GPU, the others use the CPU only; 0: no GPU is looked at; unset: all, dealt "
        "out over them",
    )

    @property
    def gpu_slot_memory_mb(self) -> int:
        """The memory limit of a slot process that has opened a GPU."""
        return self.slot_memory_mb + CUDA_MEMORY_MB
