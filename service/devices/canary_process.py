"""Runs canaries in a child process: sends requests, enforces the time limit and kills the child."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.devices.canary import AbsentResult, Canary, CanaryResult, FaultResult, PassResult

CHILD_MODULE = "service.devices.canary_child"
KILL_TIMEOUT_S = 2.0
# How many times its time limit a process may take in which it waits for a core.
MAX_TIMEOUT_FACTOR = 3


class CanaryProcess:
    """Canaries of one device, one after the other; the first fault ends it. The process is spawned, never forked."""

    def __init__(self, device: str, timeout_s: float, start_timeout_s: float) -> None:
        self._device, self._timeout_s, self._start_timeout_s = device, timeout_s, start_timeout_s
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self, canary: Canary) -> CanaryResult:
        """Do it, in a new process if there is none. Never raises: a process that cannot be had is a light fault."""
        try:
            verdict = None if self._process else await self._start(canary)
            verdict = verdict or await self._request({"work": canary.entry_point}, self._timeout_s)
        except (OSError, ValueError, KeyError) as error:
            verdict = FaultResult(f"its process is of no use: {type(error).__name__}: {error}", fatal=False)
        if isinstance(verdict, FaultResult):
            await self.close()
        return verdict

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):  # one that hangs inside of the driver dies when that lets it go
                await asyncio.wait_for(process.wait(), KILL_TIMEOUT_S)

    async def _start(self, canary: Canary) -> CanaryResult | None:
        """Libraries and contexts are loaded under a limit of their own; None when all is well."""
        command = [sys.executable, "-m", CHILD_MODULE, str(os.getpid())]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        told = await self._request({"prepare": canary.entry_point.partition(":")[0]}, self._start_timeout_s)
        return None if isinstance(told, PassResult) else told

    async def _request(self, request: dict[str, str], timeout_s: float) -> CanaryResult:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(request | {"device": self._device}).encode() + b"\n")
        with suppress(ConnectionError):
            await self._process.stdin.drain()
        try:
            line = await self._read_line(timeout_s)
        except TimeoutError:
            return FaultResult(f"a hang: no answer within {timeout_s:g} s")
        return _to_result(json.loads(line)) if line.endswith(b"\n") else FaultResult(await self._exit_reason())

    async def _read_line(self, timeout_s: float) -> bytes:
        """Raises TimeoutError. Time in which the process waited for a core is not held against it."""
        assert self._process is not None and self._process.stdout is not None
        loop = asyncio.get_running_loop()
        began, queued = loop.time(), self._cpu_wait_s()
        reading = asyncio.ensure_future(self._process.stdout.readline())
        try:
            while not reading.done():
                allowed = min(timeout_s + max(self._cpu_wait_s() - queued, 0), MAX_TIMEOUT_FACTOR * timeout_s)
                if (left := began + allowed - loop.time()) <= 0:
                    raise TimeoutError
                await asyncio.wait((reading,), timeout=left)
            return reading.result()
        finally:
            reading.cancel()

    def _cpu_wait_s(self) -> float:
        """How long its threads have been ready to run and did not, together."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        try:
            return sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9
        except (OSError, IndexError, ValueError):  # gone meanwhile, or a kernel that does not count
            return 0.0

    async def _exit_reason(self) -> str:
        assert self._process is not None
        try:
            code = await asyncio.wait_for(self._process.wait(), KILL_TIMEOUT_S)
        except TimeoutError:
            return "its process closed its output"
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"its process ended {how}"


def _to_result(reply: dict[str, Any]) -> CanaryResult:
    match reply:
        case {"passed": rate}:
            return PassResult(rate)
        case {"absent": reason}:
            return AbsentResult(reason)
        case {"wrong": reason}:
            return FaultResult(f"wrong output: {reason}")
        case {"broken": reason}:
            return FaultResult(reason)
        case _:
            return FaultResult(reply["failed"], fatal=False)
