"""Energy counters of the GPU (NVML) and of the processor packages (RAPL)."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.devices.measurement import Joules

RAPL_FOLDER = Path("/sys/class/powercap")


class EnergyMeter:
    """Uses NVML's C library, as a bare machine has no Python binding. `uuid` is that of the CUDA device."""

    def __init__(self, uuid: str | None, rapl: Path = RAPL_FOLDER) -> None:
        self._packages = sorted(rapl.glob("intel-rapl:[0-9]/energy_uj")) if rapl.is_dir() else []
        nvml: tuple[Any, Any] = _open_nvml(uuid) if uuid else (None, None)
        self._library, self._handle = nvml

    def read(self) -> Joules:
        return Joules(self._gpu_joules(), self._cpu_joules())

    def driver_version(self) -> str | None:
        """The version of NVIDIA's driver."""
        text = ctypes.create_string_buffer(96)
        if self._library is None or self._library.nvmlSystemGetDriverVersion(text, 96):
            return None
        return text.value.decode()

    def _gpu_joules(self) -> float | None:
        value = ctypes.c_ulonglong()
        if self._library is None:
            return None
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value))
        return None if failed else value.value / 1e3

    def _cpu_joules(self) -> float | None:
        try:
            values = [int(path.read_text()) for path in self._packages]
        except (OSError, ValueError):
            return None
        return sum(values) / 1e6 if values else None


def _open_nvml(uuid: str) -> tuple[Any, Any]:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None, None
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None, None
    return library, handle


def joules_per_frame(read: Callable[[], Joules], before: Joules, frames: int) -> Joules:
    """Joules per frame since `before`; None where a counter has wrapped around."""
    after = read()
    return Joules(
        _difference_per_frame(before.gpu, after.gpu, frames), _difference_per_frame(before.cpu, after.cpu, frames)
    )


def _difference_per_frame(before: float | None, after: float | None, frames: int) -> float | None:
    if before is None or after is None or after < before:
        return None
    return round((after - before) / frames, 6)
