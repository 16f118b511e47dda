"""What a worker tells Prometheus of its devices: what is unknown is left out, what is gone is not told any more."""

from collections.abc import Iterator

import pytest

from service.devices.device import Device, Figures
from service.plan.capability import Capability
from service.telemetry.metrics import worker_figures
from service.worker import device_metrics

WHICH = {"device": "cuda:0", "stage": "decode", "what": "jpeg"}


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    device_metrics.told([], [])


def told(name: str) -> list[tuple[dict[str, str], float]]:
    return [(figure["labels"], figure["value"]) for figure in worker_figures() if figure["name"] == name]


def test_figures_states_and_ages() -> None:
    figures = Figures({"temperature_celsius": 41, "ecc_enabled": True, "driver": "580", "video_clock_mhz": None})
    broken = Capability("cuda:0", "decode", "jpeg", "quarantined", "a hang", proven_at=1.0)
    device_metrics.told([Device("cuda:0", "gpu", "card", figures), Device("cuda:1", "gpu", absent="none")], [broken])
    assert told("reelmill_device_figure") == [
        ({"device": "cuda:0", "figure": "temperature_celsius"}, 41),
        ({"device": "cuda:0", "figure": "ecc_enabled"}, 1),
    ]
    assert told("reelmill_device_up") == [({"device": "cuda:0"}, 1), ({"device": "cuda:1"}, 0)]
    states = {labels["state"]: value for labels, value in told("reelmill_capability_state")}
    assert states == {"ok": 0, "degraded": 0, "quarantined": 1, "absent": 0, "unknown": 0}
    assert told("reelmill_capability_megapixels_per_second") == []
    ((labels, age),) = told("reelmill_capability_proof_age_seconds")
    assert labels == WHICH and age > 1e6


def test_what_is_gone_is_not_told() -> None:
    device_metrics.told([Device("cuda:0", "gpu")], [Capability("cuda:0", "decode", "jpeg", "ok", rate=7.0)])
    assert told("reelmill_capability_megapixels_per_second") == [(WHICH, 7.0)]
    device_metrics.told([], [])
    assert told("reelmill_capability_state") == told("reelmill_device_up") == []


def test_canaries_are_counted() -> None:
    def count() -> float:
        faulty = {"device": "cuda:7", "outcome": "faulty"}
        return sum(value for labels, value in told("reelmill_canaries_total") if labels == faulty)

    before = count()
    device_metrics.canary_ran("cuda:7", "faulty", 0.5)
    assert count() == before + 1
