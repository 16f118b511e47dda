"""Every kernel compiles for three architectures without a GPU, does not spill, and uses the recorded resources.

One of them is compiled here. What the record has of the others is of the same sources and the same compiler, which it
names: after a change of these, `python -m tests.kernels.record` compiles for all of them and rewrites
kernels/registers.json.
"""

import json
from typing import Any

import pytest

from tests.kernels.record import ARCHITECTURES, RECORD_FILE, compile_all, sources_digest

Report = dict[str, dict[str, int]]
COMPILED_HERE = "90"
RECORD: dict[str, Any] = json.loads(RECORD_FILE.read_text())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Kernel -> resource usage."""
    return compile_all(tmp_path_factory.mktemp("triton"), (COMPILED_HERE,))[COMPILED_HERE]


def test_the_record_is_of_these_sources() -> None:
    assert RECORD["sources"] == sources_digest(), "run python -m tests.kernels.record and look at what changed"


def test_figures_are_those_recorded(report: Report) -> None:
    """Registers within a quarter; everything else exactly."""
    recorded = RECORD[COMPILED_HERE]
    assert recorded.keys() == report.keys()
    for name, row in report.items():
        known = recorded[name]
        assert abs(row["registers"] - known["registers"]) <= known["registers"] / 4, name
        assert row | {"registers": 0} == known | {"registers": 0}, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_kernel_spills(architecture: str) -> None:
    assert {name: row for name, row in RECORD[architecture].items() if row["local_bytes"]} == {}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_common_factors_read_16_bytes_at_once(architecture: str) -> None:
    common = [f"{op} {factor}" for op in ("rgb_to_nv12", "nv12_scale") for factor in ("whole", "half", "quarter")]
    assert {RECORD[architecture][name]["widest_load"] for name in [*common, "tone uint16 whole"]} == {16}
