"""The CPU as a device: readings from /proc and /sys, including the container's limits."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from service.devices.device import Device, Readings
from service.plan.capability import CPU

FILESYSTEM_ROOT = Path("/")


class CpuProbe:
    """Reads the CPU repeatedly; the utilisation is that since the previous probe. /proc and /sys are below `root`."""

    def __init__(self, root: Path = FILESYSTEM_ROOT) -> None:
        self._root = root
        self._previous_ticks: tuple[float, float] | None = None

    def read_device(self) -> Device:
        readings = Readings()
        readings.read("model", self._read_model)
        for name, reader in self._readers().items():
            readings.read(name, reader)
        return Device(CPU, "cpu", readings.pop_text("model"), readings)

    def _readers(self) -> dict[str, Callable[[], float | int]]:
        return {
            "cores": lambda: os.cpu_count() or _raise_unavailable("the kernel does not report the number of cores"),
            "usable_cores": lambda: len(os.sched_getaffinity(0)),
            "cgroup_cores": self._read_cpu_quota,
            "memory_total_bytes": lambda: self._read_memory("MemTotal"),
            "memory_available_bytes": lambda: self._read_memory("MemAvailable"),
            "cgroup_memory_bytes": lambda: self._read_cgroup_limit("memory.max", "memory/memory.limit_in_bytes"),
            "cgroup_memory_used_bytes": lambda: int(
                self._read_cgroup("memory.current", "memory/memory.usage_in_bytes")
            ),
            "load_1m": lambda: float(self._read_text("proc/loadavg").split()[0]),
            "utilisation_percent": self._read_utilisation,
            "clock_mhz": self._read_clock,
            "energy_joules": self._read_energy,
            "started_seconds_ago": lambda: float(self._read_text("proc/uptime").split()[0]),
        }

    def _read_model(self) -> str:
        lines = self._read_text("proc/cpuinfo").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else _raise_unavailable("the kernel does not report the processor")

    def _read_memory(self, name: str) -> int:
        lines = self._read_text("proc/meminfo").splitlines()
        kibibytes = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return int(kibibytes[0]) * 1024 if kibibytes else _raise_unavailable(f"the kernel does not report {name}")

    def _read_cpu_quota(self) -> float:
        """The CPU limit of the container, in cores."""
        try:
            quota, period = self._read_text("sys/fs/cgroup/cpu.max").split()
        except OSError:
            quota = self._read_text("sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
            period = self._read_text("sys/fs/cgroup/cpu/cpu.cfs_period_us")
        return _raise_unavailable("no limit is set") if quota in ("max", "-1") else round(int(quota) / int(period), 2)

    def _read_cgroup_limit(self, name: str, v1_name: str) -> int:
        limit = self._read_cgroup(name, v1_name)
        return _raise_unavailable("no limit is set") if limit == "max" or int(limit) >= 1 << 60 else int(limit)

    def _read_cgroup(self, name: str, v1_name: str) -> str:
        """From cgroup version 2, else version 1, as seen inside the container."""
        try:
            return self._read_text(f"sys/fs/cgroup/{name}").strip()
        except OSError:
            return self._read_text(f"sys/fs/cgroup/{v1_name}").strip()

    def _read_utilisation(self) -> float:
        ticks = [float(word) for word in self._read_text("proc/stat").splitlines()[0].split()[1:9]]
        idle, total, previous = ticks[3] + ticks[4], sum(ticks), self._previous_ticks
        self._previous_ticks = (idle, total)
        if previous is None or total <= previous[1]:
            return _raise_unavailable("it needs two probes")
        return round(100 * (1 - (idle - previous[0]) / (total - previous[1])), 1)

    def _read_clock(self) -> float:
        lines = self._read_text("proc/cpuinfo").splitlines()
        clocks = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
        if not clocks:
            _raise_unavailable("the kernel does not report the clock")
        return round(sum(clocks) / len(clocks), 1)

    def _read_energy(self) -> float:
        """Of the first CPU package, since an unspecified time; the counter wraps."""
        return int(self._read_text("sys/class/powercap/intel-rapl:0/energy_uj")) / 1e6

    def _read_text(self, path: str) -> str:
        try:
            return (self._root / path).read_text()
        except OSError as error:
            raise OSError(f"/{path}: {error.strerror}") from error


class ReadingUnavailable(Exception):
    """This machine does not have the reading; the message is the reason."""


def _raise_unavailable(reason: str) -> NoReturn:
    raise ReadingUnavailable(reason)
