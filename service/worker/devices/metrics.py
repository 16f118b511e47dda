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
    "1 for the current state of the capability, 0 for the others",
    (*_CAPABILITY_LABELS, "state"),
    registry=WORKER_REGISTRY,
)
CAPABILITY_RATE = Gauge(
    "reelmill_capability_megapixels_per_second",
    "Throughput measured by the canary on an idle device",
    _CAPABILITY_LABELS,
    registry=WORKER_REGISTRY,
)
CAPABILITY_AGE = Gauge(
    "reelmill_capability_proof_age_seconds",
    "Seconds since the last canary result",
    _CAPABILITY_LABELS,
    registry=WORKER_REGISTRY,
)
DEVICE_FIGURE = Gauge(
    "reelmill_device_figure",
    "Readings of the device, in the unit that the name ends with; a reading that fails is left out",
    ("device", "figure"),
    registry=WORKER_REGISTRY,
)
DEVICE_UP = Gauge("reelmill_device_up", "0 for a device that is absent", ("device",), registry=WORKER_REGISTRY)
CANARIES = Counter("reelmill_canaries_total", "Canary runs by outcome", ("device", "outcome"), registry=WORKER_REGISTRY)
CANARY_SECONDS = Histogram(
    "reelmill_canary_seconds",
    "Duration of a canary, including the start of its process if it started one",
    ("device",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=WORKER_REGISTRY,
)


def count_canary(device: str, outcome: str, seconds: float) -> None:
    CANARIES.labels(device, outcome).inc()
    CANARY_SECONDS.labels(device).observe(seconds)


def update_gauges(devices: Sequence[Device], capabilities: Sequence[Capability]) -> None:
    """Replace all gauges, so that devices that are gone disappear."""
    for gauge in (CAPABILITY_STATE, CAPABILITY_RATE, CAPABILITY_AGE, DEVICE_FIGURE, DEVICE_UP):
        gauge.clear()
    for device in devices:
        DEVICE_UP.labels(device.name).set(device.absent_reason is None)
        for name, value in device.numeric_readings().items():
            DEVICE_FIGURE.labels(device.name, name).set(value)
    for capability in capabilities:
        labels = (capability.device, capability.stage, capability.what)
        for state in get_args(State):
            CAPABILITY_STATE.labels(*labels, state).set(capability.state == state)
        if capability.rate is not None:
            CAPABILITY_RATE.labels(*labels).set(capability.rate)
        if capability.proven_at is not None:
            CAPABILITY_AGE.labels(*labels).set(max(time.time() - capability.proven_at, 0))
