"""What is assumed of a stage that no canary has measured yet, in megapixels a second; and how fast bytes move.

CPU: one core, from the measured table in docs/rendering.md. CUDA: the order of what others publish for data-centre
cards; not measured here.
"""

from collections.abc import Mapping

RATES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("cpu", "decode"): {"jpeg": 390, "tiff": 250, "h264": 300, "hevc": 200, "av1": 200, "": 150},
    ("cpu", "transform"): {"": 600},
    ("cpu", "encode"): {"h264": 100, "hevc": 55, "av1": 185, "mjpeg": 500, "ffv1": 50, "": 50},
    ("cuda", "decode"): {"jpeg": 2500, "": 1500},
    ("cuda", "transform"): {"": 100_000},
    ("cuda", "encode"): {"": 1000},
}
"""(kind of device, stage) -> what -> rate; "" for everything else."""

TRANSFER_BYTES = 12e9
"""A second between pinned memory and the device, PCIe 4 x16 with others on it."""

COPY_BYTES = 5e9
"""A second, out of pinned memory by one core."""

UPLOADED_BYTES = 2
"""Of a deep sample."""

DEVICE_BATCH, PINNED_BYTES = 32, 64 * 2**20
"""The most pictures, and bytes of page-locked memory in each direction, that go through a device at once."""
