"""The slot processes of one worker, each lent to one task at a time."""

import asyncio
from contextlib import suppress

import structlog

from service.worker.slots.messages import SlotConfig
from service.worker.slots.process import SlotDied, SlotProcess

log = structlog.get_logger("worker")


class PoolClosed(Exception):
    """The worker is stopping: no task gets a slot any more."""


class SlotPool:
    """`size` slots. A slot whose process has ended gets a new one."""

    def __init__(self, config: SlotConfig, size: int) -> None:
        self.processes = [SlotProcess(config, number) for number in range(size)]
        self._free: asyncio.Queue[SlotProcess] = asyncio.Queue()
        self._closed = asyncio.Event()

    @property
    def is_exhausted(self) -> bool:
        """Whether every slot is lent, or being replaced."""
        return self._free.empty()

    @property
    def sandbox_gaps(self) -> list[str]:
        """What the sandboxes of the slots lack, in words."""
        return sorted({reason for slot in self.processes for reason in slot.sandbox_gaps})

    async def start(self) -> None:
        """Start all processes. Raises SlotDied."""
        await asyncio.gather(*(slot.start() for slot in self.processes))
        for slot in self.processes:
            self._free.put_nowait(slot)

    async def take(self) -> SlotProcess:
        """Wait for a free slot, which must be given back. Raises PoolClosed."""
        slot = asyncio.ensure_future(self._free.get())
        closed = asyncio.ensure_future(self._closed.wait())
        await asyncio.wait((slot, closed), return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        if self._closed.is_set():
            if slot.done():
                self._free.put_nowait(slot.result())
            slot.cancel()
            raise PoolClosed
        return slot.result()

    async def give_back(self, slot: SlotProcess) -> None:
        """Lend it again. If its process has ended it gets a new one first, so that no task has to wait for that."""
        if not slot.is_alive and not self._closed.is_set():
            with suppress(SlotDied):
                await slot.start()
        self._free.put_nowait(slot)

    async def check_object_processes(self) -> None:
        """Kill those that do not answer: their slots are replaced, and no frame is blamed for it."""

        async def check(slot: SlotProcess) -> None:
            if not await slot.has_responsive_objects():
                log.error("an object process does not answer, and is killed", slot=slot.number)
                slot.kill_objects()

        await asyncio.gather(*(check(slot) for slot in self.processes))

    def close(self) -> None:
        """Lend no more slots; tasks that have one keep it."""
        self._closed.set()

    def kill(self) -> None:
        """Kill all processes now."""
        for slot in self.processes:
            slot.stop_now()

    async def stop(self) -> None:
        """Let the processes exit; kill those that do not."""
        await asyncio.gather(*(slot.stop() for slot in self.processes), return_exceptions=True)
