"""NVIDIA GPUs as the driver reports them through NVML: which are visible, their health and their XID errors.

Without a driver there is one absent device with the reason."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.devices.device import Device, Readings, ReadingValue
from service.devices.nvml_readings import read_gpu


def set_pci_bus_order() -> None:
    """CUDA would sort by speed, NVML sorts by place; processes started from here on sort alike."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def visible_indices(uuids: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[int]:
    """Places in `uuids`; CUDA's rule: the list ends at the first entry that names no device."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for word in (part.strip() for part in told.split(",")):
        place = _device_index(word, uuids)
        if place is None or place in found:
            break
        found.append(place)
    return found


def _device_index(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    fitting = [place for place, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
    return fitting[0] if len(fitting) == 1 else None


# XIDs of which the device itself is the cause (NVIDIA's "XID Errors"); others may be a program's.
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
    """Why the device is degraded: it works, slower than it should or with a repair that waits."""
    if values.get("row_remap_failed"):
        return "a memory row could not be remapped: replace the card"
    if values.get("row_remap_pending"):
        return "a memory row waits to be remapped: reset the device"
    errors = values.get("ecc_uncorrected_errors")
    if isinstance(errors, int) and errors > 0:
        return f"{errors} ECC errors that cannot be corrected since the driver was loaded"
    reasons = values.get("throttle_reasons")
    slowed = [reason for reason in reasons if reason in SLOWDOWN_REASONS] if isinstance(reasons, list) else []
    return f"throttled: {', '.join(map(str, slowed))}" if slowed else None


def health_fault(xids: Sequence[int], readings: Readings) -> str | None:
    """What has just happened that makes the device unfit until a canary passes."""
    for xid in xids:
        if xid in FATAL_XIDS:
            return f"XID {xid}: {FATAL_XIDS[xid]}"
    if any(DEVICE_LOST_TEXT in reason for reason in readings.unknown.values()):
        return "the driver has lost the device"
    return None


MAX_XIDS = 16


class XidListener:
    """Listens from its making on; what happened before is in the kernel's log only."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._event_sets: dict[str, Any] = {}
        self._recent: dict[str, list[int]] = {}
        self._refusals: dict[str, str] = {}

    def read(self, readings: Readings, handle: Any) -> list[int]:
        """Fill in `xids`, the last ones since this process listens; returns those that are new."""
        name = str(readings.values.get("uuid") or handle)
        if name not in self._event_sets and name not in self._refusals:
            self._register(name, handle)
        if name in self._refusals:
            readings.mark_unknown("xids", self._refusals[name])
            return []
        fresh = self._drain_events(self._event_sets[name])
        self._recent[name] = [*self._recent.get(name, []), *fresh][-MAX_XIDS:]
        readings.values["xids"] = list(self._recent[name])
        return fresh

    def _register(self, name: str, handle: Any) -> None:
        try:
            events = self._library.nvmlEventSetCreate()
            self._library.nvmlDeviceRegisterEvents(handle, self._library.nvmlEventTypeXidCriticalError, events)
            self._event_sets[name] = events
        except self._library.NVMLError as error:
            self._refusals[name] = str(error)

    def _drain_events(self, events: Any) -> list[int]:
        found: list[int] = []
        while len(found) < MAX_XIDS:
            try:
                found.append(int(self._library.nvmlEventSetWait_v2(events, 0).eventData))
            except self._library.NVMLError:  # nothing more is there, or the device is gone: other figures tell
                break
        return found


FIRST_DEVICE = "cuda:0"


class NvmlUnavailable(Exception):
    """There is no NVML here; the text says why."""


def load_library() -> Any:
    """The module pynvml of the distribution nvidia-ml-py. Raises NotUsable."""
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise NvmlUnavailable("nvidia-ml-py is not installed: it comes with the extra `cuda`") from error


@dataclass(frozen=True, slots=True)
class UnreachableHandle:
    """In the place of a handle that the driver refuses."""

    reason: str


class NvmlProbe:
    """Opened at the first look that succeeds: a driver that is loaded later is found later.

    Calls block, for ever when a device is in a bad way: look from a thread that nobody waits for.
    """

    def __init__(self, library: Any = None) -> None:
        self._injected_library = library
        self._library: Any = None
        self._xids: XidListener | None = None

    def read_devices(self) -> list[Device]:
        """One per device that CUDA shows here, "cuda:0" first."""
        try:
            self._open()
            handles = self._visible_handles()
        except NvmlUnavailable as reason:
            return [Device(FIRST_DEVICE, "gpu", absent_reason=str(reason))]
        return [self._read_device(f"cuda:{number}", handle) for number, handle in enumerate(handles)]

    def _open(self) -> None:
        if self._library is not None:
            return
        library = self._injected_library or load_library()
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
            found = [self._open_handle(index) for index in range(library.nvmlDeviceGetCount())]
        except library.NVMLError as error:
            self._library = None
            raise NvmlUnavailable(f"NVML lists no devices: {error}") from error
        if not found:
            raise NvmlUnavailable("NVIDIA's driver is loaded and finds no device")
        if all(isinstance(handle, UnreachableHandle) for handle, _ in found):
            self._library = None  # opened anew at the next look
        shown = visible_indices([uuid for _, uuid in found])
        if not shown:
            raise NvmlUnavailable("CUDA_VISIBLE_DEVICES hides every device")
        return [found[place][0] for place in shown]

    def _open_handle(self, index: int) -> "tuple[Any | UnreachableHandle, str]":
        """(handle, UUID). One device that is lost does not hide the others."""
        library = self._library
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            return handle, str(library.nvmlDeviceGetUUID(handle))
        except library.NVMLError as error:
            return UnreachableHandle(str(error)), ""

    def _read_device(self, name: str, handle: "Any | UnreachableHandle") -> Device:
        if isinstance(handle, UnreachableHandle):
            return Device(name, "gpu", fault=f"the driver does not give the device out: {handle.reason}")
        figures: Readings = read_gpu(self._library, handle)
        assert self._xids is not None
        fresh = self._xids.read(figures, handle)
        model = figures.pop_text("model")
        warning, fault = health_warning(figures.values), health_fault(fresh, figures)
        return Device(name, "gpu", model, figures, None, warning, fault, needs_recheck=bool(fresh))
