"""NVIDIA's devices as the driver tells of them through NVML; without a driver, one absent device with the reason."""

import importlib
from dataclasses import dataclass
from typing import Any

from service.devices.condition import fault_of, warning_of
from service.devices.device import Device, Figures
from service.devices.gpu_figures import gpu_figures
from service.devices.visible import visible
from service.devices.xid import Xids

FIRST = "cuda:0"


class NotUsable(Exception):
    """There is no NVML here; the text says why."""


def load_library() -> Any:
    """The module pynvml of the distribution nvidia-ml-py. Raises NotUsable."""
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise NotUsable("nvidia-ml-py is not installed: it comes with the extra `cuda`") from error


@dataclass(frozen=True, slots=True)
class Unreachable:
    """In the place of a handle that the driver refuses."""

    reason: str


class Nvml:
    """Opened at the first look that succeeds: a driver that is loaded later is found later.

    Calls block, for ever when a device is in a bad way: look from a thread that nobody waits for.
    """

    def __init__(self, library: Any = None) -> None:
        self._given = library
        self._library: Any = None
        self._xids: Xids | None = None

    def look(self) -> list[Device]:
        """One per device that CUDA shows here, "cuda:0" first."""
        try:
            self._open()
            handles = self._handles()
        except NotUsable as reason:
            return [Device(FIRST, "gpu", absent=str(reason))]
        return [self._device(f"cuda:{number}", handle) for number, handle in enumerate(handles)]

    def _open(self) -> None:
        if self._library is not None:
            return
        library = self._given or load_library()
        try:
            library.nvmlInit()
        except library.NVMLError_LibraryNotFound as error:
            raise NotUsable("NVIDIA's driver is not installed: libnvidia-ml.so.1 was not found") from error
        except library.NVMLError_DriverNotLoaded as error:
            raise NotUsable("NVIDIA's driver is installed and not loaded") from error
        except library.NVMLError as error:
            raise NotUsable(f"NVML does not start: {error}") from error
        self._library = library
        self._xids = Xids(library)

    def _handles(self) -> "list[Any | Unreachable]":
        library = self._library
        try:
            found = [self._handle(index) for index in range(library.nvmlDeviceGetCount())]
        except library.NVMLError as error:
            self._library = None
            raise NotUsable(f"NVML lists no devices: {error}") from error
        if not found:
            raise NotUsable("NVIDIA's driver is loaded and finds no device")
        if all(isinstance(handle, Unreachable) for handle, _ in found):
            self._library = None  # opened anew at the next look
        shown = visible([uuid for _, uuid in found])
        if not shown:
            raise NotUsable("CUDA_VISIBLE_DEVICES hides every device")
        return [found[place][0] for place in shown]

    def _handle(self, index: int) -> "tuple[Any | Unreachable, str]":
        """(handle, UUID). One device that is lost does not hide the others."""
        library = self._library
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            return handle, str(library.nvmlDeviceGetUUID(handle))
        except library.NVMLError as error:
            return Unreachable(str(error)), ""

    def _device(self, name: str, handle: "Any | Unreachable") -> Device:
        if isinstance(handle, Unreachable):
            return Device(name, "gpu", fault=f"the driver does not give the device out: {handle.reason}")
        figures: Figures = gpu_figures(self._library, handle)
        assert self._xids is not None
        fresh = self._xids.read(figures, handle)
        model = figures.take("model")
        warning, fault = warning_of(figures.values), fault_of(fresh, figures)
        return Device(name, "gpu", model, figures, None, warning, fault, suspect=bool(fresh))
