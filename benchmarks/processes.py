"""What a process of the service holds, from /proc. Linux."""

import os
from pathlib import Path


def private_memory_mb(pid: int) -> float:
    """Memory of its own (RssAnon): without the pages of libraries, which processes share."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6, 1)


def count_open_sockets(pid: int, excluded_port: int) -> int:
    """Open ones, listening and connected, but for those to the port `pooled`: a pool keeps what it has opened."""
    kept = _sockets_to_port(pid, excluded_port)
    names = [_link_target(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(name.startswith("socket:") and name not in kept for name in names)


def _sockets_to_port(pid: int, port: int) -> set[str]:
    """As the file descriptors name them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[2].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found


def _link_target(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 (what it names is no path)
    except OSError:
        return ""
