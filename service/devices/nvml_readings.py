"""Reads every NVML value of one GPU separately, because each card and driver lacks some."""

from collections.abc import Callable
from typing import Any

from service.devices.device import Readings, ReadingValue

# The end of NVML's constant -> our name for the reason why the clocks are low.
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
    """All readings; what this card or driver does not report is unknown, with NVML's reason."""
    readings = Readings()
    readers = (
        _identity_readers(library, handle)
        | _utilisation_readers(library, handle)
        | _health_readers(library, handle)
        | _memory_readers(library, handle)
    )
    for name, reader in readers.items():
        readings.read(name, reader)
    return readings


def _format_version(version: int) -> str:
    """13000 -> 13.0"""
    return f"{version // 1000}.{version % 1000 // 10}"


def _identity_readers(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
    return {
        "model": lambda: library.nvmlDeviceGetName(handle),
        "uuid": lambda: library.nvmlDeviceGetUUID(handle),
        "driver": library.nvmlSystemGetDriverVersion,
        "cuda": lambda: _format_version(library.nvmlSystemGetCudaDriverVersion()),
        "compute_capability": lambda: ".".join(map(str, library.nvmlDeviceGetCudaComputeCapability(handle))),
    }


def _utilisation_readers(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
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


def _health_readers(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
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
        reason
        for name, reason in THROTTLE_REASON_NAMES.items()
        if bits & getattr(library, f"nvmlClocksThrottleReason{name}")
    ]


def _memory_readers(library: Any, handle: Any) -> dict[str, Callable[[], ReadingValue]]:
    return {
        "memory_total_bytes": lambda: int(library.nvmlDeviceGetMemoryInfo(handle).total),
        "memory_used_bytes": lambda: int(library.nvmlDeviceGetMemoryInfo(handle).used),
        "memory_free_bytes": lambda: int(library.nvmlDeviceGetMemoryInfo(handle).free),
        "remapped_rows_corrected": lambda: int(library.nvmlDeviceGetRemappedRows(handle)[0]),
        "remapped_rows_uncorrected": lambda: int(library.nvmlDeviceGetRemappedRows(handle)[1]),
        "row_remap_pending": lambda: bool(library.nvmlDeviceGetRemappedRows(handle)[2]),
        "row_remap_failed": lambda: bool(library.nvmlDeviceGetRemappedRows(handle)[3]),
    }
