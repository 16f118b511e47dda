"""Devices and capabilities as a worker writes them."""

from typing import Any


def device_row(name: str, age: float = 0.0, **more: Any) -> dict[str, Any]:
    told = {"device": name, "kind": "cpu" if name == "cpu" else "gpu", "model": f"model of {name}", "absent": None}
    return (
        told
        | {"warning": None, "figures": {"cores": 2, "energy_joules": None}, "age": age}
        | {
            "unknown": {"energy_joules": "not told"},
            **more,
        }
    )


def capability_row(device: str, **more: Any) -> dict[str, Any]:
    told = {"device": device, "stage": "decode", "what": "jpeg", "state": "ok", "reason": "", "rate": None}
    return told | {"age": 1.0, "faults": 0, "next": 10.0} | more
