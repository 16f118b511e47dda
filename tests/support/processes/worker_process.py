"""Real worker processes, which tests may kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def worker_process(url: str, home: Path, *options: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`reelmill worker` with one slot and other `options`; killed at the end of the block if it is still running."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MINIO_", "REELMILL_"))}
    environment |= {"DATABASE_URL": url, "REELMILL_HOME": str(home), "REELMILL_SLOTS": "1"} | settings
    command = [sys.executable, "-m", "service", "worker", *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def child_pids(pid: int) -> list[int]:
    """Direct child processes, from /proc."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def slot_pids(pid: int) -> list[int]:
    """The codec processes of a worker's slots."""
    return [child for child in child_pids(pid) if process_name(child) == "reelmill-codec"]


def object_pids(pid: int) -> list[int]:
    """The object processes of a worker's slots."""
    return [child for child in child_pids(pid) if process_name(child) == "reelmill-object"]


def process_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def peak_megabytes(pid: int) -> float:
    """Peak resident memory of the process in MB (VmHWM)."""
    return _status_megabytes(pid, "VmHWM")


def resident_mebibytes(pid: int) -> float:
    """Resident memory of the process in MiB (VmRSS, including shared library pages), as `ps` and `top` show it."""
    return _status_megabytes(pid, "VmRSS") * 1e6 / 2**20


def reset_peak(pid: int) -> None:
    """The peak of its resident memory begins anew: proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mebibytes(pid: int) -> float:
    """The most resident memory since `reset_peak`, in MiB (VmHWM)."""
    return _status_megabytes(pid, "VmHWM") * 1e6 / 2**20


def _status_megabytes(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024 / 1e6
