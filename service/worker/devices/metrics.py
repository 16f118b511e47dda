"""Prometheus metrics of devices: readings, capability states, age of the last self-test, canary runs."""

import time
from collections.abc import Sequence
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from service.devices.device import Device
from service.plan.capability import Capability, State
from service.telemetry.metrics import WORKER_REGISTRY

_CAPABILITY_LABELS = ("device", "stage", "what")
CAPABILITY_STATE = Gauge(
    "reelmill_capability_state",
    "1 for the state that a capability is in",
    (*_CAPABILITY_LABELS, "state"),
    registry=WORKER_REGISTRY,
)
CAPABILITY_RATE = Gauge(
    "reelmill_capability_megapixels_per_second",
    "What its canary measured, alone",
    _CAPABILITY_LABELS,
    registry=WORKER_REGISTRY,
)
CAPABILITY_AGE = Gauge(
    "reelmill_capability_proof_age_seconds",
    "Since its canary last told something",
    _CAPABILITY_LABELS,
    registry=WORKER_REGISTRY,
)
DEVICE_FIGURE = Gauge(
    "reelmill_device_figure",
    "What the device tells, in the unit of its name; what cannot be read is left out",
    ("device", "figure"),
    registry=WORKER_REGISTRY,
)
DEVICE_UP = Gauge("reelmill_device_up", "0 for a device that is absent", ("device",), registry=WORKER_REGISTRY)
CANARIES = Counter(
    "reelmill_canaries_total", "Canaries by what they told", ("device", "outcome"), registry=WORKER_REGISTRY
)
CANARY_SECONDS = Histogram(
    "reelmill_canary_seconds",
    "A canary, with the start of its process where it needed one",
    ("device",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=WORKER_REGISTRY,
)


def count_canary(device: str, outcome: str, seconds: float) -> None:
    CANARIES.labels(device, outcome).inc()
    CANARY_SECONDS.labels(device).observe(seconds)


def update_gauges(devices: Sequence[Device], capabilities: Sequence[Capability]) -> None:
    """All gauges anew: what is gone is not told any more."""
    for gauge in (CAPABILITY_STATE, CAPABILITY_RATE, CAPABILITY_AGE, DEVICE_FIGURE, DEVICE_UP):
        gauge.clear()
    for device in devices:
        DEVICE_UP.labels(device.name).set(device.absent_reason is None)
        for name, value in device.numeric_readings().items():
            DEVICE_FIGURE.labels(device.name, name).set(value)
    for one in capabilities:
        _update_capability(one)


def _update_capability(capability: Capability) -> None:
    which = (capability.device, capability.stage, capability.what)
    for state in get_args(State):
        CAPABILITY_STATE.labels(*which, state).set(capability.state == state)
    if capability.rate is not None:
        CAPABILITY_RATE.labels(*which).set(capability.rate)
    if capability.proven_at is not None:
        CAPABILITY_AGE.labels(*which).set(max(time.time() - capability.proven_at, 0))
