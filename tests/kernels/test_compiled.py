"""Every kernel compiles for three architectures without a GPU, does not spill, and uses the recorded resources.

`python -m tests.kernels.record` rewrites kernels/registers.json after an intended change.
"""

import json
from typing import Any

import pytest

from tests.kernels.record import ARCHITECTURES, RECORD_FILE, compile_all

Report = dict[str, dict[str, dict[str, int]]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return compile_all(tmp_path_factory.mktemp("triton"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_kernel_spills(reports: Report, architecture: str) -> None:
    assert {name: row for name, row in reports[architecture].items() if row["local_bytes"]} == {}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_figures_are_those_recorded(reports: Report, architecture: str) -> None:
    """Registers within a quarter; everything else exactly."""
    recorded: dict[str, Any] = json.loads(RECORD_FILE.read_text())[architecture]
    assert recorded.keys() == reports[architecture].keys()
    for name, row in reports[architecture].items():
        known = dict(recorded[name])
        assert abs(row["registers"] - known["registers"]) <= known["registers"] / 4, name
        assert row | {"registers": 0} == known | {"registers": 0}, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_common_factors_read_16_bytes_at_once(reports: Report, architecture: str) -> None:
    common = [f"{op} {factor}" for op in ("rgb_to_nv12", "nv12_scale") for factor in ("whole", "half", "quarter")]
    assert {reports[architecture][name]["widest_load"] for name in [*common, "tone uint16 whole"]} == {16}
