"""HTTP/1.1 load with nghttp2's h2load, at a fixed rate or as fast as possible."""

import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Not measured: the clients connect one after the other.
WARM_UP_S = 1
TIMEOUT_MARGIN_S = 30
# h2load's status for a request that was cut off at the end.
CUT_OFF_STATUS = 0


class LoadError(Exception):
    """No load could be generated; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """URL and bearer token of a request."""

    url: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Results of requests: statuses, and microseconds from the request's first byte to the response's last."""

    sent: int
    statuses: Counter[int]
    latencies_us: Sequence[int]

    def percentile(self, part: float) -> float:
        """The latency percentile in ms (nearest rank); `part` is 0 to 1."""
        return sorted(self.latencies_us)[math.ceil(part * len(self.latencies_us)) - 1] / 1000

    def faults(self) -> list[str]:
        """Why the latencies are not valid; empty if they are."""
        wrong = [(status, count) for status, count in sorted(self.statuses.items()) if status != 200]
        found = [f"{count} of {self.sent} responses were {status}, not 200" for status, count in wrong]
        if (missing := self.sent - self.statuses.total()) > 0:
            found.append(f"{missing} of {self.sent} requests were not answered")
        return found

    def to_row(self) -> dict[str, Any]:
        parts = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
        return {"requests": len(self.latencies_us)} | {
            name: round(self.percentile(part), 3) for name, part in parts.items()
        }


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A result row, and why it must not be recorded, if anything."""

    row: dict[str, Any]
    faults: list[str]


def h2load_path() -> str:
    """The path of the program. Raises LoadError."""
    found = shutil.which("h2load")
    if found is None:
        raise LoadError("h2load is not on PATH: install nghttp2 (Debian's package is called nghttp2-client)")
    return found


def h2load_version() -> str:
    return _run_command([h2load_path(), "--version"], 10).strip()


def run_at_rate(target: Target, rate: int, seconds: int, scratch: Path) -> Sample:
    """`rate` requests per second, from as many clients that send one per second each: the rate holds as long as
    responses take less than a second. Raises LoadError."""
    clients = [f"--clients={rate}", "--rate=1", f"--rate-period={1000 // rate}ms", "--rps=1"]
    sent = rate * (seconds + WARM_UP_S)
    rows = _run_h2load(target, [*clients, f"--requests={sent}"], seconds + WARM_UP_S + TIMEOUT_MARGIN_S, scratch)
    begin = min(row.start_us for row in rows) + WARM_UP_S * 1_000_000
    return Sample(sent, Counter(row.status for row in rows), [row.latency_us for row in rows if row.start_us >= begin])


def run_at_full_speed(target: Target, clients: int, seconds: int, scratch: Path) -> Sample:
    """As many requests as the server answers. Raises LoadError."""
    words = [f"--clients={clients}", f"--duration={seconds}", f"--warm-up-time={WARM_UP_S}"]
    rows = [
        row
        for row in _run_h2load(target, words, seconds + WARM_UP_S + TIMEOUT_MARGIN_S, scratch)
        if row.status != CUT_OFF_STATUS
    ]
    return Sample(len(rows), Counter(row.status for row in rows), [row.latency_us for row in rows])


class RequestRow(NamedTuple):
    """One request in h2load's log."""

    # Microseconds since the epoch.
    start_us: int
    # -1: no response.
    status: int
    latency_us: int


def _run_h2load(target: Target, options: list[str], timeout_s: float, scratch: Path) -> list[RequestRow]:
    output = scratch / "requests.tsv"
    output.unlink(missing_ok=True)
    header = [f"--header=Authorization: Bearer {target.token}"] if target.token else []
    _run_command([h2load_path(), "--h1", f"--log-file={output}", *header, *options, target.url], timeout_s)
    rows = [RequestRow(*map(int, line.split()[:3])) for line in output.open()] if output.exists() else []
    if not rows:
        raise LoadError(f"no request to {target.url} was answered")
    return rows


def _run_command(command: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"h2load did not end within {timeout_s:.0f} s: a response is missing") from None
    if done.returncode:
        raise LoadError(f"h2load ended with exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout
