"""What a device's figures mean for its use: a warning for as long as they say so, or a fault."""

from collections.abc import Mapping, Sequence

from service.devices.device import Readings, ReadingValue

FATAL_XIDS = {
    48: "an ECC error that cannot be corrected",
    62: "its internal processor stopped",
    64: "a memory row could not be remapped",
    74: "NVLink failed",
    79: "it fell off the bus",
    94: "a contained ECC error",
    95: "an uncontained ECC error",
    119: "its firmware does not answer",
    120: "its firmware failed",
}
"""XIDs of which the device itself is the cause (NVIDIA's "XID Errors"); others may be a program's."""
SLOWDOWN_REASONS = ("hardware slowdown", "thermal slowdown (software)", "thermal slowdown (hardware)", "power brake")
DEVICE_LOST_TEXT = "GPU is lost"


def health_warning(values: Mapping[str, ReadingValue]) -> str | None:
    """Why the device is degraded: it works, slower than it should or with a repair that waits."""
    if values.get("row_remap_failed"):
        return "a memory row could not be remapped: replace the card"
    if values.get("row_remap_pending"):
        return "a memory row waits to be remapped: reset the device"
    errors = values.get("ecc_uncorrected_errors")
    if isinstance(errors, int) and errors > 0:
        return f"{errors} ECC errors that cannot be corrected since the driver was loaded"
    reasons = values.get("throttle_reasons")
    slowed = [reason for reason in reasons if reason in SLOWDOWN_REASONS] if isinstance(reasons, list) else []
    return f"throttled: {', '.join(map(str, slowed))}" if slowed else None


def health_fault(xids: Sequence[int], readings: Readings) -> str | None:
    """What has just happened that makes the device unfit until a canary passes."""
    for xid in xids:
        if xid in FATAL_XIDS:
            return f"XID {xid}: {FATAL_XIDS[xid]}"
    if any(DEVICE_LOST_TEXT in reason for reason in readings.unknown.values()):
        return "the driver has lost the device"
    return None
