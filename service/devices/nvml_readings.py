"""Reads every NVML value of one GPU separately, because each card and driver lacks some."""

from collections.abc import Callable
from functools import partial
from typing import Any

from service.devices.device import Readings, ReadingValue

# Why the clocks are lower than they could be: NVML's bit, and what we call it.
THROTTLE_REASON_NAMES = {
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


def read_gpu(library: Any, handle: Any) -> Readings:
    """All figures; what this card or driver does not tell is unknown, with NVML's own reason."""
    figures = Readings()
    for name, reading in (
        _identity_readings(library, handle) | _utilisation_readings(library, handle) | _health_readings(library, handle)
    ).items():
        figures.read(name, reading)
    _read_memory(figures, library, handle)
    _read_remapped_rows(figures, library, handle)
    return figures


def _identity_readings(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
    return {
        "model": lambda: library.nvmlDeviceGetName(handle),
        "uuid": lambda: library.nvmlDeviceGetUUID(handle),
        "driver": library.nvmlSystemGetDriverVersion,
        "cuda": lambda: _format_version(library.nvmlSystemGetCudaDriverVersion()),
        "compute_capability": lambda: ".".join(map(str, library.nvmlDeviceGetCudaComputeCapability(handle))),
    }


def _utilisation_readings(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
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


def _health_readings(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
    uncorrected, volatile = library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, library.NVML_VOLATILE_ECC
    corrected = library.NVML_MEMORY_ERROR_TYPE_CORRECTED
    return {
        "temperature_celsius": lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU),
        "throttle_reasons": lambda: _throttle_reasons(library, handle),
        "ecc_enabled": lambda: bool(library.nvmlDeviceGetEccMode(handle)[0]),
        "ecc_corrected_errors": lambda: library.nvmlDeviceGetTotalEccErrors(handle, corrected, volatile),
        "ecc_uncorrected_errors": lambda: library.nvmlDeviceGetTotalEccErrors(handle, uncorrected, volatile),
    }


def _throttle_reasons(library: Any, handle: Any) -> list[str]:
    bits = library.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return [
        told
        for name, told in THROTTLE_REASON_NAMES.items()
        if bits & getattr(library, f"nvmlClocksThrottleReason{name}")
    ]


def _read_memory(readings: Readings, library: Any, handle: Any) -> None:
    def part_of(name: str) -> ReadingValue:
        return int(getattr(library.nvmlDeviceGetMemoryInfo(handle), name))

    for name in ("total", "used", "free"):
        readings.read(f"memory_{name}_bytes", partial(part_of, name))


def _read_remapped_rows(readings: Readings, library: Any, handle: Any) -> None:
    def row(place: int) -> ReadingValue:
        told = int(library.nvmlDeviceGetRemappedRows(handle)[place])
        return told if place < 2 else bool(told)

    names = ("remapped_rows_corrected", "remapped_rows_uncorrected", "row_remap_pending", "row_remap_failed")
    for place, name in enumerate(names):
        readings.read(name, partial(row, place))


def _format_version(version: int) -> str:
    """13000 -> 13.0"""
    return f"{version // 1000}.{version % 1000 // 10}"
