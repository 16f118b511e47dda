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
# The longest wait for an answer, as a multiple of the time limit, if the process has to wait for a core.
MAX_TIMEOUT_FACTOR = 3


class CanaryProcess:
    """Runs the canaries of one device one after the other in a spawned process; the first fault ends the process."""

    def __init__(self, device: str, timeout_s: float, start_timeout_s: float) -> None:
        self._device, self._timeout_s, self._start_timeout_s = device, timeout_s, start_timeout_s
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self, canary: Canary) -> CanaryResult:
        """Run a canary, in a new process if there is none. Never raises: a failed start is a light fault."""
        try:
            result = None if self._process else await self._start(canary)
            result = result or await self._request({"work": canary.entry_point}, self._timeout_s)
        except (OSError, ValueError, KeyError) as error:
            result = FaultResult(f"the canary process failed: {type(error).__name__}: {error}", fatal=False)
        if isinstance(result, FaultResult):
            await self.close()
        return result

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):  # a process that hangs inside the driver dies only when the driver returns
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await process.wait()

    async def _start(self, canary: Canary) -> CanaryResult | None:
        """Start a process and load libraries and contexts, with a time limit of its own. None if that succeeded."""
        command = [sys.executable, "-m", CHILD_MODULE, str(os.getpid())]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        result = await self._request({"prepare": canary.entry_point.partition(":")[0]}, self._start_timeout_s)
        return None if isinstance(result, PassResult) else result

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
        """Raises TimeoutError. Time that the process spends waiting for a core does not count."""
        assert self._process is not None and self._process.stdout is not None
        loop = asyncio.get_running_loop()
        started, earlier_wait_s = loop.time(), self._cpu_wait_s()
        reading = asyncio.ensure_future(self._process.stdout.readline())
        try:
            while not reading.done():
                cpu_wait_s = max(self._cpu_wait_s() - earlier_wait_s, 0)
                allowed_s = min(timeout_s + cpu_wait_s, MAX_TIMEOUT_FACTOR * timeout_s)
                if (remaining_s := started + allowed_s - loop.time()) <= 0:
                    raise TimeoutError
                await asyncio.wait((reading,), timeout=remaining_s)
            return reading.result()
        finally:
            reading.cancel()

    def _cpu_wait_s(self) -> float:
        """Seconds that all its threads together have been ready to run and waited for a core."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        try:
            return sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9
        except (OSError, IndexError, ValueError):  # the process has ended, or the kernel does not count
            return 0.0

    async def _exit_reason(self) -> str:
        assert self._process is not None
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                code = await self._process.wait()
        except TimeoutError:
            return "its process closed its output"
        if code < 0:
            return f"its process ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


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
