"""XIDs: errors that the driver reports about a device, as they happen."""

from typing import Any

from service.devices.device import Figures

KEPT = 16


class Xids:
    """Listens from its making on; what happened before is in the kernel's log only."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._sets: dict[str, Any] = {}
        self._seen: dict[str, list[int]] = {}
        self._refused: dict[str, str] = {}

    def read(self, figures: Figures, handle: Any) -> list[int]:
        """Fill in `xids`, the last ones since this process listens; returns those that are new."""
        name = str(figures.values.get("uuid") or handle)
        if name not in self._sets and name not in self._refused:
            self._listen(name, handle)
        if name in self._refused:
            figures.missing("xids", self._refused[name])
            return []
        fresh = self._fresh(self._sets[name])
        self._seen[name] = [*self._seen.get(name, []), *fresh][-KEPT:]
        figures.values["xids"] = list(self._seen[name])
        return fresh

    def _listen(self, name: str, handle: Any) -> None:
        try:
            events = self._library.nvmlEventSetCreate()
            self._library.nvmlDeviceRegisterEvents(handle, self._library.nvmlEventTypeXidCriticalError, events)
            self._sets[name] = events
        except self._library.NVMLError as error:
            self._refused[name] = str(error)

    def _fresh(self, events: Any) -> list[int]:
        found: list[int] = []
        while len(found) < KEPT:
            try:
                found.append(int(self._library.nvmlEventSetWait_v2(events, 0).eventData))
            except self._library.NVMLError:  # nothing more is there, or the device is gone: other figures tell
                break
        return found
