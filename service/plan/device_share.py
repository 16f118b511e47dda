"""Which part of which GPU a slot may use."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.plan.capability import CPU, Capability, Stage
from service.plan.render_plan import RenderOptions, SourceKind

REAL_DRIVER = "service.pipeline.cuda.device"
"""The module that opens a GPU: its name, for who must not import any of it."""

_USED = 0.8
"""Of a device's memory by all slots together: contexts and codecs take some that nobody counts."""

Work = tuple[Stage, str]
_DECODES: dict[SourceKind, tuple[Work, ...]] = {
    "frames": (("decode", "jpeg"),),
    "video": (("decode", "h264"), ("decode", "hevc"), ("decode", "av1")),
}
"""Withheld when one decodes wrongly: which of them a segment needs is known only when its sources are read."""

LAST_START = 3
"""A segment whose slot has ended twice is made by the CPU."""


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """`memory` is the part of the device's memory that one batch of the slot may take."""

    device: str
    memory: float


def share(capabilities: Sequence[Capability], slot: int, slots: int, most: int | None) -> DeviceShare | None:
    """Of the slot of this number among so many: devices are dealt out in turn, at most `most` slots on each; None for a
    slot that has none."""
    devices = sorted({one.device for one in capabilities if one.state != "absent"} - {CPU})
    each = -(-slots // len(devices)) if devices else 0
    if most is not None:
        each = min(each, most)
    if not devices or slot >= each * len(devices):
        return None
    return DeviceShare(devices[slot % len(devices)], _USED / each)


def withheld(capabilities: Sequence[Capability], device: str, options: RenderOptions, starts: int) -> str | None:
    """Why the device is not to be used for a segment that is started for so many-th time; None when it is."""
    if starts >= LAST_START:
        return "two attempts on a GPU ended their slot"
    needed: list[Work] = [("transform", "nv12")]
    if options.family.encoder != "cpu":
        needed.append(("encode", options.codec))
    for one in capabilities:
        work = (one.stage, one.what)
        wrong = one.state == "quarantined" and work in _DECODES[options.source_kind]
        if one.device == device and (wrong or (work in needed and one.state in ("quarantined", "absent"))):
            return f"{device} {one.stage} {one.what} is {one.state}: {one.reason}"
    return None
