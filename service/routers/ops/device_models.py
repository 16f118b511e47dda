"""Response models of /api/devices, also printed by `reelmill devices`."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from service.plan.capability import Stage, State

# A device is as bad as the first of these that one of its capabilities is in.
SEVERITY: tuple[State, ...] = ("quarantined", "degraded", "unknown", "ok", "absent")


class CapabilityModel(BaseModel):
    """One thing that the device does or does not, as its canary proved it."""

    stage: Stage
    what: str = Field(description="a codec or, of the transform, `nv12`", examples=["h264"])
    state: State = Field(
        description="`ok`: proven; `degraded`: used, with a caveat; `quarantined`: not used until its canary passes; "
        "`absent`: the device does not have it; `unknown`: not proven yet"
    )
    reason: str | None = Field(description="of every state but `ok`", examples=[None])
    proven_seconds_ago: float | None = Field(description="since its canary last told something", examples=[4.2])
    next_proof_seconds: float = Field(description="until its canary is due", examples=[5.8])
    faults: int = Field(description="faults that three passes in a row have not made forgotten", examples=[0])
    megapixels_per_second: float | None = Field(
        description="what the canary measured: of the CPU for one core", examples=[118.4]
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
                }
            ]
        }
    )
    worker: str = Field(description="its machine and process")
    device: str = Field(description="`cpu`, or `cuda:0` and so on: a name within the worker")
    kind: Literal["cpu", "gpu"]
    model: str | None
    state: State = Field(description="the worst state of a capability; `absent`: there is no such device")
    reason: str | None = Field(description="why it is absent, or what slows or threatens it")
    looked_seconds_ago: float = Field(description="the age of `figures`")
    figures: dict[str, Any] = Field(description="units are in the names; what cannot be read is null")
    unknown: dict[str, str] = Field(description="why a figure is null")
    capabilities: list[CapabilityModel]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        facts, capabilities = row["facts"], [CapabilityModel.from_record(told) for told in row["capabilities"]]
        return cls(
            worker=row["worker"],
            device=row["device"],
            **{name: facts[name] for name in ("kind", "model", "figures", "unknown")},
            state=_worst_state(facts, {one.state for one in capabilities}),
            reason=facts["absent"] or facts["warning"],
            looked_seconds_ago=round(row["age"], 1),
            capabilities=capabilities,
        )


def _worst_state(facts: dict[str, Any], states: set[State]) -> State:
    if facts["absent"]:
        return "absent"
    found: list[State] = [state for state in SEVERITY if state in states]
    return found[0] if found else "unknown"


def _round_optional(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
