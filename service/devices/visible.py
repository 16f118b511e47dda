"""Which of the driver's devices CUDA shows to this process, in CUDA's order."""

import os
from collections.abc import Mapping, Sequence


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
