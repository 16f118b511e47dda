"""The API process stays light: what .importlinter forbids by reading is checked here by running."""

import subprocess
import sys

import pytest

from tests.architecture.contracts import contract

THIRD_PARTY_CODE = ("torch", "torchvision", "triton", "av", "PIL", "imagecodecs", "tifffile", "PyNvVideoCodec")
SLOT_SIDE = (
    "service.pipeline",
    "service.worker.slots.executor",
    "service.worker.supervisor",
    "service.devices",
    "kernels",
)


def loaded_modules(module: str, wanted: tuple[str, ...]) -> list[str]:
    """Which of `wanted` are in sys.modules of a fresh process that has imported `module`."""
    script = f"import sys, {module}; print(*(name for name in {wanted!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_app_brings_no_codec_no_torch_and_no_worker() -> None:
    assert loaded_modules("service.processes.app", (*THIRD_PARTY_CODE, *SLOT_SIDE, "service.worker")) == []


@pytest.mark.parametrize("module", ["service.processes.api", "service.cli"])
def test_the_process_around_it_brings_none_either(module: str) -> None:
    """They compose the settings, the worker's too, and nothing else of the worker."""
    assert loaded_modules(module, (*THIRD_PARTY_CODE, *SLOT_SIDE)) == []


def test_reading_the_settings_brings_no_web_framework_and_no_database() -> None:
    assert loaded_modules("service.config", ("fastapi", "starlette", "sqlalchemy", "prometheus_client")) == []


def test_a_slot_brings_no_database() -> None:
    """28 MB of each slot: what a scan finds out, the supervisor writes."""
    assert loaded_modules("service.worker.slots.executor", ("sqlalchemy", "asyncpg", "fastapi")) == []


def test_a_worker_s_supervisor_brings_no_codec() -> None:
    """30 MB of each worker, and a quarter of a second of its start: its slots decode and encode."""
    unwanted = (*THIRD_PARTY_CODE, "service.pipeline.images", "service.worker.slots.executor")
    assert loaded_modules("service.processes.worker", unwanted) == []


def test_the_probe_would_see_one() -> None:
    assert "av" in loaded_modules("service.worker.slots.executor", THIRD_PARTY_CODE)


def test_a_slot_brings_no_torch_until_it_opens_a_gpu() -> None:
    """Importing it takes longer, and more memory, than many a render."""
    heavy = ("torch", "torchvision", "triton", "PyNvVideoCodec", "kernels")
    assert loaded_modules("service.worker.slots.executor", heavy) == []
    assert "torch" in loaded_modules("service.pipeline.cuda.torch.driver", heavy)


def test_the_contract_forbids_the_same() -> None:
    forbidden = set(contract("api-stays-light")["forbidden_modules"].split())
    assert {"service.pipeline", "service.worker", "kernels", "torch", "triton", "av", "PIL"} <= forbidden
