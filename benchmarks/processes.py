"""What a process of the service holds, from /proc. Linux."""

import os
from pathlib import Path


def own_mb(pid: int) -> float:
    """Memory of its own (RssAnon): without the pages of libraries, which processes share."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6, 1)


def sockets(pid: int) -> int:
    """Open ones, listening and connected, to whomever."""
    return sum(_points_to(path).startswith("socket:") for path in Path(f"/proc/{pid}/fd").iterdir())


def _points_to(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 (what it names is no path)
    except OSError:
        return ""
