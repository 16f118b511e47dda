"""The worker process: opens the shared state and runs the supervisor until SIGTERM."""

import asyncio
import signal
from pathlib import Path

from service import watchdog
from service.child_process import hide_from_other_processes
from service.config import Settings, forget_secrets
from service.processes.startup import open_shared_state
from service.worker.slots.messages import CodecConfig, SlotConfig
from service.worker.supervisor import Supervisor

# The libraries of a GPU open devices, write caches and start compilers: what they need in a sandbox is not known yet.
NVIDIA_DEVICE = Path("/dev/nvidiactl")


async def run_worker(settings: Settings, *, until_idle: bool = False) -> None:
    """Run until SIGTERM or SIGINT or, with `until_idle`, until nothing is left to do; then drain.

    Raises StartupError.
    """
    hide_from_other_processes()
    forget_secrets()
    beating = asyncio.create_task(watchdog.beat())
    state = await open_shared_state(settings)
    try:
        supervisor = Supervisor(state.database, build_slot_config(settings), settings.worker, settings.webhooks)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        await supervisor.run(until_idle=until_idle)
    finally:
        beating.cancel()
        await state.close()
    state.require_database()


def build_slot_config(settings: Settings) -> SlotConfig:
    return SlotConfig(
        objects=settings.objects,
        home=settings.process.home,
        codec=CodecConfig(
            memory_mb=settings.worker.slot_memory_mb,
            prefetch_mb=settings.worker.prefetch_mb,
            bucket=settings.objects.bucket,
            gpu_memory_mb=settings.worker.gpu_slot_memory_mb,
            log_level=settings.logging.level,
            confined=settings.worker.gpu_slots == 0 or not NVIDIA_DEVICE.exists(),
        ),
    )
