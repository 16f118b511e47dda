"""NVIDIA GPUs as the driver reports them through NVML: visible devices, their health and their XID errors.

Without a driver there is one absent device with the reason.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.devices.device import Device, Readings, ReadingValue
from service.devices.nvml_readings import read_gpu


def set_pci_bus_order() -> None:
    """Make CUDA number devices by PCI bus, as NVML does, instead of by speed; for processes started from now on."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def visible_indices(uuids: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[int]:
    """The indices in `uuids` that CUDA_VISIBLE_DEVICES names; as in CUDA, its list ends at the first invalid entry."""
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return list(range(len(uuids)))
    indices: list[int] = []
    for entry in variable.split(","):
        index = _device_index(entry.strip(), uuids)
        if index is None or index in indices:
            break
        indices.append(index)
    return indices


def _device_index(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    matches = [index for index, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


# XIDs that are caused by the device itself (NVIDIA's document "XID Errors"); others may be caused by a program.
FATAL_XIDS = {
    48: "an ECC error that cannot be corrected",
    62: "its internal processor stopped",
    64: "a memory row could not be remapped",
    74: "NVLink failed",
    79: "it fell off the bus",
    94: "a contained ECC error",
    95: "an uncontained ECC error",
    119: "its firmware does not answer",
    120: "its firmware failed",
}
SLOWDOWN_REASONS = ("hardware slowdown", "thermal slowdown (software)", "thermal slowdown (hardware)", "power brake")
DEVICE_LOST_TEXT = "GPU is lost"


def health_warning(values: Mapping[str, ReadingValue]) -> str | None:
    """Why the device is degraded: it works, but slowly, or it needs a repair."""
    if values.get("row_remap_failed"):
        return "a memory row could not be remapped: replace the card"
    if values.get("row_remap_pending"):
        return "a memory row waits to be remapped: reset the device"
    errors = values.get("ecc_uncorrected_errors")
    if isinstance(errors, int) and errors > 0:
        return f"{errors} ECC errors that cannot be corrected since the driver was loaded"
    reasons = values.get("throttle_reasons")
    slowdowns = [reason for reason in reasons if reason in SLOWDOWN_REASONS] if isinstance(reasons, list) else []
    return f"throttled: {', '.join(map(str, slowdowns))}" if slowdowns else None


def health_fault(xids: Sequence[int], readings: Readings) -> str | None:
    """A new error that quarantines the device until its canaries pass."""
    for xid in xids:
        if xid in FATAL_XIDS:
            return f"XID {xid}: {FATAL_XIDS[xid]}"
    if any(DEVICE_LOST_TEXT in reason for reason in readings.unknown.values()):
        return "the driver has lost the device"
    return None


MAX_XIDS = 16


class XidListener:
    """Collects XID errors from its creation on; earlier ones are only in the kernel log."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._event_sets: dict[str, Any] = {}
        self._recent: dict[str, list[int]] = {}
        self._refusals: dict[str, str] = {}

    def read(self, readings: Readings, handle: Any) -> list[int]:
        """Store the last XIDs since creation as the reading `xids`; return the new ones."""
        name = str(readings.values.get("uuid") or handle)
        if name not in self._event_sets and name not in self._refusals:
            self._register(name, handle)
        if name in self._refusals:
            readings.mark_unknown("xids", self._refusals[name])
            return []
        new = self._drain_events(self._event_sets[name])
        self._recent[name] = [*self._recent.get(name, []), *new][-MAX_XIDS:]
        readings.values["xids"] = list(self._recent[name])
        return new

    def _register(self, name: str, handle: Any) -> None:
        try:
            events = self._library.nvmlEventSetCreate()
            self._library.nvmlDeviceRegisterEvents(handle, self._library.nvmlEventTypeXidCriticalError, events)
            self._event_sets[name] = events
        except self._library.NVMLError as error:
            self._refusals[name] = str(error)

    def _drain_events(self, events: Any) -> list[int]:
        xids: list[int] = []
        while len(xids) < MAX_XIDS:
            try:
                xids.append(int(self._library.nvmlEventSetWait_v2(events, 0).eventData))
            except self._library.NVMLError:  # no more events; a lost device shows in the other readings
                break
        return xids


FIRST_DEVICE = "cuda:0"


class NvmlUnavailable(Exception):
    """NVML cannot be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class UnreachableHandle:
    """Stands in for a handle that the driver refuses."""

    reason: str


class NvmlProbe:
    """Initialises NVML on the first successful probe, so a driver that is loaded later is found.

    Calls may block forever: run them in a TimeoutCall.
    """

    def __init__(self, library: Any = None) -> None:
        self._injected_library = library
        self._library: Any = None
        self._xids: XidListener | None = None

    def read_devices(self) -> list[Device]:
        """The devices that are visible to CUDA, "cuda:0" first."""
        try:
            self._open()
            handles = self._visible_handles()
        except NvmlUnavailable as reason:
            return [Device(FIRST_DEVICE, "gpu", absent_reason=str(reason))]
        return [self._read_device(f"cuda:{number}", handle) for number, handle in enumerate(handles)]

    def _open(self) -> None:
        if self._library is not None:
            return
        try:
            library = self._injected_library or importlib.import_module("pynvml")
        except ImportError as error:
            raise NvmlUnavailable("nvidia-ml-py is not installed: install the extra `cuda`") from error
        try:
            library.nvmlInit()
        except library.NVMLError_LibraryNotFound as error:
            raise NvmlUnavailable("NVIDIA's driver is not installed: libnvidia-ml.so.1 was not found") from error
        except library.NVMLError_DriverNotLoaded as error:
            raise NvmlUnavailable("NVIDIA's driver is installed and not loaded") from error
        except library.NVMLError as error:
            raise NvmlUnavailable(f"NVML does not start: {error}") from error
        self._library = library
        self._xids = XidListener(library)

    def _visible_handles(self) -> "list[Any | UnreachableHandle]":
        library = self._library
        try:
            handles = [self._open_handle(index) for index in range(library.nvmlDeviceGetCount())]
        except library.NVMLError as error:
            self._library = None
            raise NvmlUnavailable(f"NVML lists no devices: {error}") from error
        if not handles:
            raise NvmlUnavailable("NVIDIA's driver is loaded and finds no device")
        if all(isinstance(handle, UnreachableHandle) for handle, _ in handles):
            self._library = None  # initialise NVML again at the next probe
        visible = visible_indices([uuid for _, uuid in handles])
        if not visible:
            raise NvmlUnavailable("CUDA_VISIBLE_DEVICES hides every device")
        return [handles[index][0] for index in visible]

    def _open_handle(self, index: int) -> "tuple[Any | UnreachableHandle, str]":
        """(handle, UUID). A lost device does not prevent opening the others."""
        library = self._library
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            return handle, str(library.nvmlDeviceGetUUID(handle))
        except library.NVMLError as error:
            return UnreachableHandle(str(error)), ""

    def _read_device(self, name: str, handle: "Any | UnreachableHandle") -> Device:
        if isinstance(handle, UnreachableHandle):
            return Device(name, "gpu", fault=f"the driver refuses access to the device: {handle.reason}")
        readings = read_gpu(self._library, handle)
        assert self._xids is not None
        new_xids = self._xids.read(readings, handle)
        return Device(
            name,
            "gpu",
            readings.pop_text("model"),
            readings,
            warning=health_warning(readings.values),
            fault=health_fault(new_xids, readings),
            needs_recheck=bool(new_xids),
        )
