"""Canaries in real processes: whatever they do, the parent gets a result and no process is left."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.devices.canary import AbsentResult, Canary, FaultResult, PassResult
from service.devices.canary_process import CanaryProcess
from tests.support.doubles.canaries import GPU, MODULE, ORDERS_VARIABLE, canaries

pytestmark = pytest.mark.anyio
ORDERED, SOUND = canaries(GPU)
# Longer than a busy machine needs to start a process.
HANG_S = 10


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    monkeypatch.setenv(ORDERS_VARIABLE, str(tmp_path / "orders"))
    return (tmp_path / "orders").write_text


@asynccontextmanager
async def process(limit_s: float = 30) -> AsyncIterator[CanaryProcess]:
    canary_process = CanaryProcess(GPU, limit_s, 60)
    try:
        yield canary_process
    finally:
        await canary_process.close()


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("orders", "verdict"),
    [
        ("right", PassResult(100.0)),
        ("noise", PassResult(100.0)),
        ("absent", AbsentResult("no such engine")),
        ("broken", FaultResult("context lost")),
        ("memory", FaultResult("MemoryError: too little", fatal=False)),
        ("segfault", FaultResult("its process ended by SIGSEGV")),
        ("exit", FaultResult("its process ended with exit code 3")),
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
    assert isinstance(verdict, FaultResult) and verdict.fatal
    assert "dB from the known picture" in verdict.reason


async def test_a_hang_is_killed(order: Callable[[str], int]) -> None:
    order("right")
    async with process(limit_s=HANG_S) as canary:
        assert isinstance(await canary.run(ORDERED), PassResult)
        pid = canary.pid
        order("hang")
        assert await canary.run(ORDERED) == FaultResult(f"a hang: no answer within {HANG_S:g} s")
        assert pid is not None and has_ended(pid)


async def test_passes_share_a_process_and_a_fault_ends_it(order: Callable[[str], int]) -> None:
    order("right")
    async with process() as canary:
        await canary.run(SOUND)
        first = canary.pid
        await canary.run(ORDERED)
        assert canary.pid == first and first is not None
        order("exit")
        await canary.run(ORDERED)
        assert has_ended(first)
        assert await canary.run(SOUND) == PassResult(5.0)
        assert canary.pid != first


async def test_nothing_stays(order: Callable[[str], int]) -> None:
    order("right")
    async with process() as canary:
        await canary.run(SOUND)
        pid = canary.pid
        assert pid is not None and os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert has_ended(pid)


async def test_work_that_is_not_there_is_light() -> None:
    async with process() as canary:
        verdict = await canary.run(Canary(GPU, "decode", "png", f"{MODULE}:forgotten"))
    assert isinstance(verdict, FaultResult) and not verdict.fatal


async def test_a_process_that_cannot_be_had_is_a_light_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with process() as canary:
        verdict = await canary.run(SOUND)
    assert isinstance(verdict, FaultResult) and not verdict.fatal
    assert verdict.reason.startswith("the canary process failed: FileNotFoundError")
