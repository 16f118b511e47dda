"""NVIDIA's devices as the driver tells of them through NVML; without a driver, one absent device with the reason."""

import importlib
from dataclasses import dataclass
from typing import Any

from service.devices.condition import health_fault, health_warning
from service.devices.device import Device, Readings
from service.devices.gpu_figures import read_gpu
from service.devices.visible import visible_indices
from service.devices.xid import XidListener

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
