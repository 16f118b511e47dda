"""The CPU as a device: what the kernel tells of it, and what a container may use of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from service.devices.device import Device, Figures
from service.plan.capability import CPU

ROOT = Path("/")


class Machine:
    """Looked at again and again: utilisation is that since the last look. `root` is where /proc and /sys are."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._busy: tuple[float, float] | None = None

    def look(self) -> Device:
        figures = Figures()
        figures.read("model", self._model)
        for name, reading in self._readings().items():
            figures.read(name, reading)
        return Device(CPU, "cpu", figures.take("model"), figures)

    def _readings(self) -> dict[str, Callable[[], float | int]]:
        return {
            "cores": lambda: os.cpu_count() or _unknown("the kernel does not tell the number of cores"),
            "usable_cores": lambda: len(os.sched_getaffinity(0)),
            "cgroup_cores": self._quota,
            "memory_total_bytes": lambda: self._memory("MemTotal"),
            "memory_available_bytes": lambda: self._memory("MemAvailable"),
            "cgroup_memory_bytes": lambda: self._cgroup_limit("memory.max", "memory/memory.limit_in_bytes"),
            "cgroup_memory_used_bytes": lambda: int(self._cgroup("memory.current", "memory/memory.usage_in_bytes")),
            "load_1m": lambda: float(self._text("proc/loadavg").split()[0]),
            "utilisation_percent": self._utilisation,
            "clock_mhz": self._clock,
            "energy_joules": self._energy,
            "started_seconds_ago": lambda: float(self._text("proc/uptime").split()[0]),
        }

    def _model(self) -> str:
        lines = self._text("proc/cpuinfo").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else _unknown("the kernel does not name the processor")

    def _memory(self, name: str) -> int:
        lines = self._text("proc/meminfo").splitlines()
        found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return int(found[0]) * 1024 if found else _unknown(f"the kernel does not tell {name}")

    def _quota(self) -> float:
        """Cores' worth of time that the container may use."""
        try:
            quota, period = self._text("sys/fs/cgroup/cpu.max").split()
        except OSError:
            quota = self._text("sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
            period = self._text("sys/fs/cgroup/cpu/cpu.cfs_period_us")
        return _unknown("no limit is set") if quota in ("max", "-1") else round(int(quota) / int(period), 2)

    def _cgroup_limit(self, name: str, old: str) -> int:
        told = self._cgroup(name, old)
        return _unknown("no limit is set") if told == "max" or int(told) >= 1 << 60 else int(told)

    def _cgroup(self, name: str, old: str) -> str:
        """Version 2 of cgroups as a container sees its own, else version 1."""
        try:
            return self._text(f"sys/fs/cgroup/{name}").strip()
        except OSError:
            return self._text(f"sys/fs/cgroup/{old}").strip()

    def _utilisation(self) -> float:
        ticks = [float(word) for word in self._text("proc/stat").splitlines()[0].split()[1:9]]
        idle, total, before = ticks[3] + ticks[4], sum(ticks), self._busy
        self._busy = (idle, total)
        if before is None or total <= before[1]:
            return _unknown("it is measured from one look to the next")
        return round(100 * (1 - (idle - before[0]) / (total - before[1])), 1)

    def _clock(self) -> float:
        lines = self._text("proc/cpuinfo").splitlines()
        clocks = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
        return round(sum(clocks) / len(clocks), 1) if clocks else _unknown("the kernel does not tell the clock")

    def _energy(self) -> float:
        """Of the first package, since an unknown moment; wraps."""
        return int(self._text("sys/class/powercap/intel-rapl:0/energy_uj")) / 1e6

    def _text(self, path: str) -> str:
        try:
            return (self._root / path).read_text()
        except OSError as error:
            raise OSError(f"/{path}: {error.strerror}") from error


class NotTold(Exception):
    """A figure that this machine does not give; the text says why."""


def _unknown(reason: str) -> NoReturn:
    raise NotTold(reason)
