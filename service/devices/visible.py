"""Which of the driver's devices CUDA shows to this process, in CUDA's order."""

import os
from collections.abc import Mapping, Sequence


def order_as_the_driver() -> None:
    """CUDA would sort by speed, NVML sorts by place; processes started from here on sort alike."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def visible(uuids: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[int]:
    """Places in `uuids`; CUDA's rule: the list ends at the first entry that names no device."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for word in (part.strip() for part in told.split(",")):
        place = _place(word, uuids)
        if place is None or place in found:
            break
        found.append(place)
    return found


def _place(word: str, uuids: Sequence[str]) -> int | None:
    if word.isdecimal():
        return int(word) if int(word) < len(uuids) else None
    fitting = [place for place, uuid in enumerate(uuids) if word and uuid.startswith(word)]
    return fitting[0] if len(fitting) == 1 else None
