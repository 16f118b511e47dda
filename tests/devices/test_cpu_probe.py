"""Readings of the CPU, of this machine and of kernels that report other values."""

import os
from pathlib import Path

import pytest

from service.devices.cpu_probe import CpuProbe

FILES = {
    "proc/cpuinfo": "model name\t: Little CPU\ncpu MHz\t\t: 1000.0\n\nmodel name\t: Little CPU\ncpu MHz\t\t: 3000.0\n",
    "proc/meminfo": "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 1/234 5678\n",
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n",
    "proc/uptime": "3600.25 7000.00\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "2500000\n",
}
VERSION_2 = {
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": "1073741824\n",
    "sys/fs/cgroup/memory.current": "4096\n",
}
VERSION_1 = {
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2097152\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "8192\n",
}
NO_LIMITS = {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_figures_of_a_kernel(tmp_path: Path) -> None:
    device = CpuProbe(write_files(tmp_path, FILES | VERSION_2)).read_device()
    values = device.readings.values
    assert (device.name, device.kind, device.model) == ("cpu", "cpu", "Little CPU")
    assert (values["memory_total_bytes"], values["memory_available_bytes"]) == (2048 * 1024, 1024 * 1024)
    assert (values["clock_mhz"], values["load_1m"], values["energy_joules"]) == (2000, 0.5, 2.5)
    assert (values["cgroup_cores"], values["cgroup_memory_bytes"], values["cgroup_memory_used_bytes"]) == (
        1.5,
        1 << 30,
        4096,
    )
    assert values["usable_cores"] == len(os.sched_getaffinity(0))


def test_version_1_of_cgroups(tmp_path: Path) -> None:
    values = CpuProbe(write_files(tmp_path, FILES | VERSION_1)).read_device().readings.values
    assert (values["cgroup_cores"], values["cgroup_memory_bytes"], values["cgroup_memory_used_bytes"]) == (
        0.5,
        2097152,
        8192,
    )


def test_no_limits_are_no_zeros(tmp_path: Path) -> None:
    figures = CpuProbe(write_files(tmp_path, FILES | NO_LIMITS)).read_device().readings
    for name in ("cgroup_cores", "cgroup_memory_bytes"):
        assert (figures.values[name], figures.unknown[name]) == (None, "no limit is set")


def test_utilisation_is_that_since_the_last_look(tmp_path: Path) -> None:
    machine = CpuProbe(write_files(tmp_path, FILES))
    first = machine.read_device().readings
    assert first.values["utilisation_percent"] is None and first.unknown["utilisation_percent"]
    write_files(tmp_path, {"proc/stat": "cpu  175 0 100 720 105 0 0 0 0 0\n"})
    assert machine.read_device().readings.values["utilisation_percent"] == 75


@pytest.mark.parametrize("missing", sorted(FILES))
def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path, missing: str) -> None:
    device = CpuProbe(
        write_files(tmp_path, {name: text for name, text in FILES.items() if name != missing})
    ).read_device()
    known = CpuProbe(write_files(tmp_path, FILES)).read_device().readings.unknown
    lost = {name for name, why in device.readings.unknown.items() if why != known.get(name)}
    assert lost
    assert (device.model is None) == (missing == "proc/cpuinfo")
    for name in lost:
        assert device.readings.values[name] is None
        assert device.readings.unknown[name].startswith(f"/{missing}: No such file")


def test_this_machine() -> None:
    device = CpuProbe().read_device()
    assert device.readings.values["memory_total_bytes"]
    assert set(device.readings.unknown) == {name for name, value in device.readings.values.items() if value is None}
    assert "" not in device.readings.values.values()
