"""Response models of /api/devices, which `reelmill devices` also prints."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from service.plan.capability import Stage, State

# Worst state first. A device has the worst state of its capabilities.
SEVERITY: tuple[State, ...] = ("quarantined", "degraded", "unknown", "ok", "absent")


class CapabilityModel(BaseModel):
    """One capability of a device, as its self-test (canary) last found it."""

    stage: Stage
    what: str = Field(description="codec or, for the transform stage, `nv12`", examples=["h264"])
    state: State = Field(
        description="`ok`: the self-test passed; `degraded`: used, with a caveat; `quarantined`: not used until the "
        "self-test passes; `absent`: the device does not have it; `unknown`: not tested yet"
    )
    reason: str | None = Field(description="reason of every state other than `ok`", examples=[None])
    proven_seconds_ago: float | None = Field(description="seconds since the last self-test", examples=[4.2])
    next_proof_seconds: float = Field(description="seconds until the next self-test", examples=[5.8])
    faults: int = Field(description="faults since three self-tests in a row passed", examples=[0])
    megapixels_per_second: float | None = Field(
        description="throughput in the self-test; for the CPU, of one core", examples=[118.4]
    )

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        return cls(
            **{name: record[name] for name in ("stage", "what", "state", "reason", "faults")},
            proven_seconds_ago=_round_optional(record["age"], 1),
            next_proof_seconds=round(record["next"], 1),
            megapixels_per_second=_round_optional(record["rate"], 1),
        )


class DeviceModel(BaseModel):
    """A device of a live worker."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "worker": "render-1:4711",
                    "device": "cuda:0",
                    "kind": "gpu",
                    "model": "NVIDIA H200",
                    "state": "quarantined",
                    "reason": None,
                    "looked_seconds_ago": 1.3,
                    "figures": {"temperature_celsius": 41, "utilisation_percent": 12, "video_clock_mhz": None},
                    "unknown": {"video_clock_mhz": "Not Supported"},
                    "capabilities": [
                        {
                            "stage": "decode",
                            "what": "jpeg",
                            "state": "quarantined",
                            "reason": "wrong output: 8.1 dB from the known picture, at least 36 were due",
                            "proven_seconds_ago": 2.0,
                            "next_proof_seconds": 2.0,
                            "faults": 1,
                            "megapixels_per_second": None,
                        }
                    ],
                    "sandbox_gaps": ["codec processes with a GPU have no sandbox yet"],
                }
            ]
        }
    )
    worker: str = Field(description="host and process id of the worker")
    device: str = Field(description="name within the worker: `cpu`, `cuda:0` and so on")
    kind: Literal["cpu", "gpu"]
    model: str | None
    state: State = Field(description="worst state of its capabilities; `absent`: there is no such device")
    reason: str | None = Field(description="why the device is absent, or what degrades it")
    looked_seconds_ago: float = Field(description="age of `figures` in seconds")
    figures: dict[str, Any] = Field(description="measurements with units in their names; null if they cannot be read")
    unknown: dict[str, str] = Field(description="why a measurement is null")
    capabilities: list[CapabilityModel]
    sandbox_gaps: list[str] = Field(
        description="what the kernel or the device keeps from the walls around the worker's codec processes; empty: "
        "a file that takes one over finds no key, no other file and no network"
    )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        facts = row["facts"]
        capabilities = [CapabilityModel.from_record(record) for record in row["capabilities"]]
        states: set[State] = {"absent"} if facts["absent"] else {capability.state for capability in capabilities}
        return cls(
            worker=row["worker"],
            device=row["device"],
            **{name: facts[name] for name in ("kind", "model", "figures", "unknown")},
            state=next((state for state in SEVERITY if state in states), "unknown"),
            reason=facts["absent"] or facts["warning"],
            looked_seconds_ago=round(row["age"], 1),
            capabilities=capabilities,
            sandbox_gaps=row["sandbox_gaps"],
        )


def _round_optional(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
