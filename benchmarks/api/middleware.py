"""Cost of the middleware: a minimal app served with none, three or all of them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.api import h2load
from benchmarks.api.baseline_app import VARIANTS
from benchmarks.api.h2load import MeasuredRow, Target
from benchmarks.process_stats import tree_cpu_seconds

CLIENT_COUNT = 8


@contextmanager
def baseline_servers(scratch: Path) -> Iterator[Mapping[str, "BaselineServer"]]:
    """All variants at once; an idle server costs nothing."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_baseline_server(name, scratch)) for name in VARIANTS}


class BaselineServer:
    """One server process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._pid = process.pid
        self._target = Target(*process.stdout.readline().split())

    def measure(self, variant: str, seconds: int, scratch: Path) -> MeasuredRow:
        """Requests per second at full load, and CPU time per request."""
        before = tree_cpu_seconds([self._pid])
        sample = h2load.run_at_full_speed(self._target, CLIENT_COUNT, seconds, scratch)
        used = tree_cpu_seconds([self._pid]) - before
        whole = seconds + h2load.WARM_UP_S
        rate = sample.sent / seconds
        row = {"layers": variant, "requests_per_s": round(rate, 1), "cpu_us": round(used / whole / rate * 1e6, 1)}
        return MeasuredRow(row | sample.to_row(), [f"{variant} middleware: {fault}" for fault in sample.faults()])


@contextmanager
def _baseline_server(variant: str, scratch: Path) -> Iterator[BaselineServer]:
    command = [sys.executable, "-m", "benchmarks.api.baseline_app", variant]
    with (scratch / f"baseline-{variant}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield BaselineServer(process)
        finally:
            process.terminate()
            process.wait(30)
