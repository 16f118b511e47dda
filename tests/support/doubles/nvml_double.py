"""A double of NVML: names, constants and errors of the real module, with chosen readings."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml


@dataclass
class Card:
    """One device. `lacks`: functions that it does not support; `xids`: those that the driver will report."""

    uuid: str
    lacks: set[str] = field(default_factory=set)
    xids: list[int] = field(default_factory=list)
    throttle: int = 0
    ecc: int = 0
    rows: tuple[int, int, int, int] = (0, 0, 0, 0)
    lost: bool = False
    # The driver lists the device but does not open it any more.
    unreachable: bool = False


class NvmlDouble:
    """Passed to `Nvml` as its library."""

    def __init__(self, *cards: Card, start: int | None = None) -> None:
        self.cards, self.start = list(cards), start
        self.registered: list[str] = []
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        """Constants and error classes are those of the real module."""
        if not hasattr(pynvml, name) or name.startswith("nvmlDevice"):
            raise AttributeError(name)
        return getattr(pynvml, name)

    def nvmlInit(self) -> None:
        if self.start is not None:
            raise pynvml.NVMLError(self.start)
        self.opened += 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        if self.cards[index].unreachable:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.82.07"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13010

    def nvmlEventSetCreate(self) -> list[Card]:
        return []

    def nvmlDeviceRegisterEvents(self, card: Card, kinds: int, events: list[Card]) -> None:
        self._check(card, "nvmlDeviceRegisterEvents")
        assert kinds == pynvml.nvmlEventTypeXidCriticalError
        self.registered.append(card.uuid)
        events.append(card)

    def nvmlEventSetWait_v2(self, events: list[Card], milliseconds: int) -> Any:
        assert milliseconds == 0, "nobody may be kept waiting"
        for card in events:
            if card.xids:
                return SimpleNamespace(eventData=card.xids.pop(0))
        raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)

    def _check(self, card: Card, function: str) -> None:
        if card.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if function in card.lacks:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _add_reading(name: str, reading: Any) -> None:
    def told(self: NvmlDouble, card: Card, *more: Any) -> Any:
        self._check(card, name)
        return reading(card, *more)

    assert hasattr(pynvml, name), f"{name} is no function of NVML"
    setattr(NvmlDouble, name, told)


READINGS: dict[str, Any] = {
    "nvmlDeviceGetName": lambda card: "NVIDIA H200",
    "nvmlDeviceGetCudaComputeCapability": lambda card: (9, 0),
    "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=37, memory=12),
    "nvmlDeviceGetEncoderUtilization": lambda card: [0, 167000],
    "nvmlDeviceGetDecoderUtilization": lambda card: [81, 167000],
    "nvmlDeviceGetJpgUtilization": lambda card: [64, 167000],
    "nvmlDeviceGetClockInfo": lambda card, kind: {1: 1755, 2: 3201, 3: 1545}[kind],
    "nvmlDeviceGetMaxClockInfo": lambda card, kind: 1980,
    "nvmlDeviceGetPowerUsage": lambda card: 412_500,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": lambda card: 9_876_543,
    "nvmlDeviceGetTemperature": lambda card, sensor: 61,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: card.throttle,
    "nvmlDeviceGetEccMode": lambda card: [1, 1],
    "nvmlDeviceGetTotalEccErrors": lambda card, kind, counter: card.ecc if kind else 0,
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=141 << 30, used=3 << 30, free=138 << 30),
    "nvmlDeviceGetRemappedRows": lambda card: card.rows,
}
for _name, _reading in READINGS.items():
    _add_reading(_name, _reading)
