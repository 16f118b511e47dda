"""XIDs: errors that the driver reports about a device, as they happen."""

from typing import Any

from service.devices.device import Readings

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
