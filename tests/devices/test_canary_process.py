"""Canaries in real processes: whatever they do, the parent gets a verdict and no process stays."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.devices.canary import Absent, Canary, Faulty, Passed
from service.devices.canary_process import CanaryProcess
from tests.support.ordered_canaries import GPU, HERE, ORDERS, canaries

pytestmark = pytest.mark.anyio
ORDERED, SOUND = canaries(GPU)


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    monkeypatch.setenv(ORDERS, str(tmp_path / "orders"))
    return (tmp_path / "orders").write_text


@asynccontextmanager
async def process(limit_s: float = 30) -> AsyncIterator[CanaryProcess]:
    made = CanaryProcess(GPU, limit_s, 60)
    try:
        yield made
    finally:
        await made.close()


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("orders", "verdict"),
    [
        ("right", Passed(100.0)),
        ("noise", Passed(100.0)),
        ("absent", Absent("no such engine")),
        ("broken", Faulty("context lost")),
        ("memory", Faulty("MemoryError: too little", grave=False)),
        ("segfault", Faulty("its process ended by SIGSEGV")),
        ("exit", Faulty("its process ended with exit code 3")),
    ],
)
async def test_verdicts(order: Callable[[str], int], orders: str, verdict: object) -> None:
    order(orders)
    async with process() as canary:
        assert await canary.run(ORDERED) == verdict


async def test_wrong_pixels_are_seen_though_nothing_fails(order: Callable[[str], int]) -> None:
    order("wrong")
    async with process() as canary:
        verdict = await canary.run(ORDERED)
    assert isinstance(verdict, Faulty) and verdict.grave
    assert "dB from the known picture" in verdict.reason


async def test_a_hang_is_killed(order: Callable[[str], int]) -> None:
    order("right")
    async with process(limit_s=1.5) as canary:
        assert isinstance(await canary.run(ORDERED), Passed)
        pid = canary.pid
        order("hang")
        assert await canary.run(ORDERED) == Faulty("a hang: no answer within 1.5 s")
        assert pid is not None and gone(pid)


async def test_passes_share_a_process_and_a_fault_ends_it(order: Callable[[str], int]) -> None:
    order("right")
    async with process() as canary:
        await canary.run(SOUND)
        first = canary.pid
        await canary.run(ORDERED)
        assert canary.pid == first and first is not None
        order("exit")
        await canary.run(ORDERED)
        assert gone(first)
        assert await canary.run(SOUND) == Passed(5.0)
        assert canary.pid != first


async def test_nothing_stays(order: Callable[[str], int]) -> None:
    order("right")
    async with process() as canary:
        await canary.run(SOUND)
        pid = canary.pid
        assert pid is not None and os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert gone(pid)


async def test_work_that_is_not_there_is_light() -> None:
    async with process() as canary:
        verdict = await canary.run(Canary(GPU, "decode", "png", f"{HERE}:forgotten"))
    assert isinstance(verdict, Faulty) and not verdict.grave


async def test_a_process_that_cannot_be_had_is_a_light_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with process() as canary:
        verdict = await canary.run(SOUND)
    assert isinstance(verdict, Faulty) and not verdict.grave
    assert verdict.reason.startswith("its process is of no use: FileNotFoundError")
