"""What NVML tells of one device: each figure for itself, since every card and driver lacks some."""

from collections.abc import Callable
from functools import partial
from typing import Any

from service.devices.device import Figures, Value

REASONS = {
    "SwPowerCap": "power cap",
    "HwSlowdown": "hardware slowdown",
    "SyncBoost": "sync boost",
    "SwThermalSlowdown": "thermal slowdown (software)",
    "HwThermalSlowdown": "thermal slowdown (hardware)",
    "HwPowerBrakeSlowdown": "power brake",
    "ApplicationsClocksSetting": "clocks set by an application",
    "DisplayClockSetting": "clocks set by a display",
    "GpuIdle": "idle",
}
"""Why the clocks are lower than they could be: NVML's bit, and what we call it."""


def gpu_figures(library: Any, handle: Any) -> Figures:
    """All figures; what this card or driver does not tell is unknown, with NVML's own reason."""
    figures = Figures()
    for name, reading in (_identity(library, handle) | _load(library, handle) | _health(library, handle)).items():
        figures.read(name, reading)
    _read_memory(figures, library, handle)
    _read_remapped_rows(figures, library, handle)
    return figures


def _identity(library: Any, handle: Any) -> dict[str, Callable[[], Value]]:
    return {
        "model": lambda: library.nvmlDeviceGetName(handle),
        "uuid": lambda: library.nvmlDeviceGetUUID(handle),
        "driver": library.nvmlSystemGetDriverVersion,
        "cuda": lambda: _dotted(library.nvmlSystemGetCudaDriverVersion()),
        "compute_capability": lambda: ".".join(map(str, library.nvmlDeviceGetCudaComputeCapability(handle))),
    }


def _load(library: Any, handle: Any) -> dict[str, Callable[[], Value]]:
    return {
        "utilisation_percent": lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory_utilisation_percent": lambda: library.nvmlDeviceGetUtilizationRates(handle).memory,
        "encoder_utilisation_percent": lambda: library.nvmlDeviceGetEncoderUtilization(handle)[0],
        "decoder_utilisation_percent": lambda: library.nvmlDeviceGetDecoderUtilization(handle)[0],
        "jpeg_utilisation_percent": lambda: library.nvmlDeviceGetJpgUtilization(handle)[0],
        "sm_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM),
        "sm_clock_limit_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM),
        "memory_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM),
        "video_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_VIDEO),
        "power_watts": lambda: library.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "power_limit_watts": lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        "energy_joules": lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
    }


def _health(library: Any, handle: Any) -> dict[str, Callable[[], Value]]:
    uncorrected, volatile = library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, library.NVML_VOLATILE_ECC
    corrected = library.NVML_MEMORY_ERROR_TYPE_CORRECTED
    return {
        "temperature_celsius": lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU),
        "throttle_reasons": lambda: _reasons(library, handle),
        "ecc_enabled": lambda: bool(library.nvmlDeviceGetEccMode(handle)[0]),
        "ecc_corrected_errors": lambda: library.nvmlDeviceGetTotalEccErrors(handle, corrected, volatile),
        "ecc_uncorrected_errors": lambda: library.nvmlDeviceGetTotalEccErrors(handle, uncorrected, volatile),
    }


def _reasons(library: Any, handle: Any) -> list[str]:
    bits = library.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return [told for name, told in REASONS.items() if bits & getattr(library, f"nvmlClocksThrottleReason{name}")]


def _read_memory(figures: Figures, library: Any, handle: Any) -> None:
    def part_of(name: str) -> Value:
        return int(getattr(library.nvmlDeviceGetMemoryInfo(handle), name))

    for name in ("total", "used", "free"):
        figures.read(f"memory_{name}_bytes", partial(part_of, name))


def _read_remapped_rows(figures: Figures, library: Any, handle: Any) -> None:
    def row(place: int) -> Value:
        told = int(library.nvmlDeviceGetRemappedRows(handle)[place])
        return told if place < 2 else bool(told)

    names = ("remapped_rows_corrected", "remapped_rows_uncorrected", "row_remap_pending", "row_remap_failed")
    for place, name in enumerate(names):
        figures.read(name, partial(row, place))


def _dotted(version: int) -> str:
    """13000 -> 13.0"""
    return f"{version // 1000}.{version % 1000 // 10}"
