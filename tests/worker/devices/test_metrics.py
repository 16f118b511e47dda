"""What a worker tells Prometheus of its devices: what is unknown is left out, what is gone is not told any more."""

from collections.abc import Iterator

import pytest

from service.devices.device import Device, Readings
from service.plan.capability import Capability
from service.telemetry.metrics import collect_worker_metrics
from service.worker.devices import metrics

LABELS = {"device": "cuda:0", "stage": "decode", "what": "jpeg"}


@pytest.fixture(autouse=True)
def _reset_gauges() -> Iterator[None]:
    yield
    metrics.update_gauges([], [])


def samples(name: str) -> list[tuple[dict[str, str], float]]:
    return [(figure["labels"], figure["value"]) for figure in collect_worker_metrics() if figure["name"] == name]


def test_figures_states_and_ages() -> None:
    figures = Readings({"temperature_celsius": 41, "ecc_enabled": True, "driver": "580", "video_clock_mhz": None})
    broken = Capability("cuda:0", "decode", "jpeg", "quarantined", "a hang", proven_at=1.0)
    metrics.update_gauges(
        [Device("cuda:0", "gpu", "card", figures), Device("cuda:1", "gpu", absent_reason="none")], [broken]
    )
    assert samples("reelmill_device_figure") == [
        ({"device": "cuda:0", "figure": "temperature_celsius"}, 41),
        ({"device": "cuda:0", "figure": "ecc_enabled"}, 1),
    ]
    assert samples("reelmill_device_up") == [({"device": "cuda:0"}, 1), ({"device": "cuda:1"}, 0)]
    states = {labels["state"]: value for labels, value in samples("reelmill_capability_state")}
    assert states == {"ok": 0, "degraded": 0, "quarantined": 1, "absent": 0, "unknown": 0}
    assert samples("reelmill_capability_megapixels_per_second") == []
    ((labels, age),) = samples("reelmill_capability_proof_age_seconds")
    assert labels == LABELS and age > 1e6


def test_what_is_gone_is_not_told() -> None:
    metrics.update_gauges([Device("cuda:0", "gpu")], [Capability("cuda:0", "decode", "jpeg", "ok", rate=7.0)])
    assert samples("reelmill_capability_megapixels_per_second") == [(LABELS, 7.0)]
    metrics.update_gauges([], [])
    assert samples("reelmill_capability_state") == samples("reelmill_device_up") == []


def test_canaries_are_counted() -> None:
    def count() -> float:
        faulty = {"device": "cuda:7", "outcome": "faulty"}
        return sum(value for labels, value in samples("reelmill_canaries_total") if labels == faulty)

    before = count()
    metrics.count_canary("cuda:7", "faulty", 0.5)
    assert count() == before + 1
