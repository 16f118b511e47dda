"""The devices of this machine, looked at again and again, each source by a call of its own that may hang."""

import time
from collections.abc import Callable, Sequence

import structlog

from service.devices.device import Device
from service.devices.watched_call import StillRunning, TimeoutCall

log = structlog.get_logger("worker")
PROBE_TIMEOUT_S = 5.0
DeviceProbe = Callable[[], Sequence[Device]]


class DeviceInventory:
    """`devices` are those last seen; one whose source does not answer is kept, and its age tells."""

    def __init__(self, probes: Sequence[DeviceProbe], timeout_s: float = PROBE_TIMEOUT_S) -> None:
        self._calls = [TimeoutCall(look, timeout_s) for look in probes]
        self._seen: list[Sequence[Device]] = [() for _ in probes]
        self._seen_at = [time.monotonic() for _ in probes]
        self._silent = [False for _ in probes]

    def devices(self) -> list[Device]:
        return [device for devices in self._seen for device in devices]

    def age_s(self, name: str) -> float:
        """Since the device was looked at."""
        places = [place for place, devices in enumerate(self._seen) if any(device.name == name for device in devices)]
        return time.monotonic() - self._seen_at[places[0]]

    async def refresh(self) -> list[str]:
        """Look at all; returns the names of devices whose source has just fallen silent."""
        silent: list[str] = []
        for place, call in enumerate(self._calls):
            fell_silent = not await self._probe(place, call) and not self._silent[place]
            self._silent[place] = self._silent[place] or fell_silent
            silent += [device.name for device in self._seen[place]] if fell_silent else []
        return silent

    async def _probe(self, index: int, call: "TimeoutCall[Sequence[Device]]") -> bool:
        try:
            self._seen[index] = await call.result()
        except Exception as error:
            reason = str(error) if isinstance(error, StillRunning) else f"{type(error).__name__}: {error}"
            log.warning("devices cannot be looked at", reason=reason)
            return False
        self._seen_at[index], self._silent[index] = time.monotonic(), False
        return True
