"""Which slot uses which GPU, and what an outcome says about the health of the GPUs."""

from dataclasses import replace

from service.plan.needs import offers_of
from service.plan.placement import GpuAllocation, allocate_gpu, gpu_disabled_reason
from service.plan.render_plan import CPU_ONLY
from service.worker.devices.monitor import DeviceMonitor
from service.worker.slots.messages import (
    Command,
    EncoderUnavailable,
    Outcome,
    RenderSegment,
    SegmentDone,
    TaskFailed,
)

# Failures of tasks and of frames that a broken device may be the cause of.
DEVICE_FAULT_CODES = ("hang", "slot_died", "slot_killed", "out_of_memory", "device_lost", "device_failed")


class GpuPlacement:
    """Shares the GPUs among `slots` slots, at most `max_slots_per_gpu` on each (None: all slots may have one)."""

    def __init__(self, monitor: DeviceMonitor, slots: int, max_slots_per_gpu: int | None) -> None:
        self._monitor, self._slots, self._max_slots_per_gpu = monitor, slots, max_slots_per_gpu

    def allocation(self, slot_number: int) -> GpuAllocation | None:
        """The slot's share of a GPU; None if it gets none."""
        return allocate_gpu(self._monitor.capabilities(), slot_number, self._slots, self._max_slots_per_gpu)

    def offers(self, slot_number: int) -> frozenset[str]:
        """What the slot can do, in the words of `plan.needs`."""
        gpu = self.allocation(slot_number)
        return offers_of(self._monitor.capabilities(), () if gpu is None else (gpu.device,))

    def offers_of_worker(self) -> frozenset[str]:
        """What its slots can do together."""
        return frozenset().union(*map(self.offers, range(self._slots)))

    def assign(self, command: Command, slot_number: int, attempt: int) -> Command:
        """Add the slot's share of a GPU to the command if its render uses one; other commands are unchanged."""
        if not isinstance(command, RenderSegment) or command.plan.options.family == CPU_ONLY:
            return command
        gpu = self.allocation(slot_number)
        if gpu is None:
            return command
        capabilities = self._monitor.capabilities()
        reason = gpu_disabled_reason(capabilities, gpu.device, command.plan.options, attempt)
        return replace(command, gpu=gpu, gpu_disabled_reason=reason)

    def check_health(self, outcome: Outcome) -> None:
        """Run all canaries now if a broken device may have caused the outcome."""
        match outcome:
            case EncoderUnavailable():
                suspicious = True
            case TaskFailed(code=code):
                suspicious = code in DEVICE_FAULT_CODES
            case SegmentDone(device_fallbacks=fallbacks):
                suspicious = any(code in DEVICE_FAULT_CODES for _, code in fallbacks)
            case _:
                suspicious = False
        if suspicious:
            self._monitor.request_recheck()
