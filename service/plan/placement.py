"""Which device does each stage of a render, and why; and which share of a GPU each slot gets.

Placement is decided from what devices have shown they can do, and from what it costs at the measured rates. Seconds are
those of one output frame in one slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.errors import invalid_field
from service.plan.capability import (
    COPY_BYTES,
    CPU,
    DEVICE_BATCH,
    PINNED_BYTES,
    TRANSFER_BYTES,
    UPLOADED_BYTES,
    Capability,
    CapabilityIndex,
    Stage,
)
from service.plan.estimate import EFFORT_SECONDS
from service.plan.formats import EFFORTS, Codec, Effort, SourceKind
from service.plan.render_plan import CPU_ONLY, Backend, Encoder, RenderOptions

DevicePreference = Literal["auto", "cpu", "cuda"]
Stages = dict[str, dict[str, str]]
Operation = tuple[Stage, str]

# The module that opens a GPU, by name, for code that must not import any of it.
REAL_DRIVER = "service.pipeline.cuda.torch.driver"

NOT_PROVEN = "no CUDA device is proven on a live worker"
NVENC_CODECS = ("h264", "hevc", "av1")

# Shortest and longest side that NVENC takes: the strictest of the generations that have the encoder.
NVENC_SIDES = {"h264": (160, 4096), "hevc": (160, 8192), "av1": (192, 8192)}

# The format that threads of the CPU decode before the device transforms it.
UPLOADED = "tiff"

# What the CPU encodes with, for efforts that differ.
ENCODERS: dict[Codec, dict[Effort, str]] = {
    "h264": {"fast": "libx264 ultrafast", "balanced": "libx264 veryfast", "small": "libx264 slower"},
    "av1": {"balanced": "libsvtav1 preset 10", "small": "libsvtav1 preset 6"},
    "hevc": {"balanced": "libx265 ultrafast", "small": "libx265 fast"},
    "mjpeg": dict.fromkeys(EFFORTS["mjpeg"], "JPEGs copied as they are where they fit, else libjpeg-turbo"),
    "ffv1": dict.fromkeys(EFFORTS["ffv1"], "ffv1 level 3, lossless"),
}

# The part of a device's memory that all slots together may take: contexts and codecs need the rest.
_USABLE_MEMORY = 0.8

# A faulty decoder disables the device for all renders of the kind: which codec a segment needs is known only when its
# sources are read.
_DECODERS: dict[SourceKind, tuple[Operation, ...]] = {
    "frames": (("decode", "jpeg"),),
    "video": (("decode", "h264"), ("decode", "hevc"), ("decode", "av1")),
}

# A segment runs on the CPU from this attempt on, because its slot has died twice.
CPU_FALLBACK_ATTEMPT = 3


@dataclass(frozen=True, slots=True)
class SourceMedia:
    """What is decoded: image formats or video codecs, and the usual size after the crop, before the rotation.

    `square_pixels`: the usual frame has its shape in stored pixels.
    """

    formats: tuple[str, ...]
    width: int
    height: int
    square_pixels: bool = True

    @property
    def main(self) -> str | None:
        """The format that a device could take part in; None when there is none such."""
        supported = ("jpeg", UPLOADED, "h264", "hevc", "av1")
        return next((name for name in supported if name in (self.formats or ("jpeg",))), None)


@dataclass(frozen=True, slots=True)
class StageDevice:
    """Where a stage runs, and why there."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of each stage; `seconds` is how long a frame is expected to occupy a slot."""

    backend: Backend
    decode: StageDevice
    transform: StageDevice
    encode: StageDevice
    seconds: float


def choose_placement(
    cluster: Sequence[Capability],
    options: RenderOptions,
    source: SourceMedia,
    preference: DevicePreference = "auto",
    slots_per_device: float = 1,
) -> Placement:
    """The cheapest placement that works. `slots_per_device` slots use one device at a time.

    Raises InvalidRequest, pointing at `#/device`, when "cuda" is asked for and no device can do anything.
    """
    candidates = PlacementCandidates(CapabilityIndex(cluster), options, source, slots_per_device)
    if preference == "cpu":
        return candidates.cpu_placement("asked for")
    best = min(
        candidates.gpu_placements(),
        key=lambda one: (one.seconds, one.encode.device, one.transform.device),
        default=None,
    )
    if preference == "cuda":
        if best is None:
            reason = candidates.gpu_unavailable_reason()
            detail = f"{reason}: use auto or cpu" if reason == NOT_PROVEN else f"this render cannot use one: {reason}"
            raise invalid_field("#/device", detail, "no_device")
        return best
    if best is None:
        return candidates.cpu_placement(candidates.gpu_unavailable_reason())
    if best.seconds < candidates.cpu_seconds():
        return best
    return candidates.cpu_placement(f"{best.decode.device} would need {format_ms(best.seconds)}, which is not less")


def describe_stages(options: RenderOptions, placement: Placement | None = None) -> Stages:
    """The device and the reason of every stage, as the API shows them; without a placement, those of a CPU render."""
    if placement is None:
        placement = choose_placement((), options, SourceMedia((), options.width, options.height))
    return {
        "fetch": {"device": "cpu", "reason": "objects are read ahead of the decoder"},
        "decode": {"device": placement.decode.device, "reason": placement.decode.reason},
        "transform": {"device": placement.transform.device, "reason": placement.transform.reason},
        "encode": {"device": placement.encode.device, "reason": placement.encode.reason},
    }


class PlacementCandidates:
    """Every placement of the render that the devices have shown they can do, with its cost."""

    def __init__(
        self, index: CapabilityIndex, options: RenderOptions, source: SourceMedia, slots_per_device: float
    ) -> None:
        self._index, self._options, self._source = index, options, source
        self._sharing = max(slots_per_device, 1.0)
        self._members = options.sources_per_output
        self._source_megapixels = source.width * source.height * self._members / 1e6
        self._output_megapixels = options.width * options.height / 1e6

    def cpu_placement(self, reason: str) -> Placement:
        encode = f"{self._cpu_encoder()}, one thread a slot; {reason}"
        return Placement(
            CPU_ONLY,
            StageDevice(CPU, reason),
            StageDevice(CPU, "scale, range and format in one pass"),
            StageDevice(CPU, encode),
            self.cpu_seconds(),
        )

    def gpu_placements(self) -> list[Placement]:
        """Decode and transform on a device, with each encoder that fits."""
        if self._unsupported_reason():
            return []
        devices = [device for device in self._index.devices if not self._missing_capability(device)]
        return [self._gpu_placement(device, encoder) for device in devices for encoder in self._encoders(device)]

    def gpu_unavailable_reason(self) -> str:
        """Why `gpu_placements` is empty."""
        lacking = (reason for device in self._index.devices if (reason := self._missing_capability(device)))
        return self._unsupported_reason() or next(lacking, NOT_PROVEN)

    def cpu_seconds(self) -> float:
        return self._cpu_pixel_seconds() + self._cpu_encode_seconds()

    def _cpu_pixel_seconds(self) -> float:
        decode = self._index.rate(CPU, "decode", self._source.main or "")
        return self._source_megapixels / decode + self._source_megapixels / self._index.rate(CPU, "transform", "nv12")

    def _cpu_encoder(self) -> str:
        return ENCODERS[self._options.codec][self._options.effort]

    def _cpu_encode_seconds(self) -> float:
        """The measured rate is that of the balanced effort."""
        seconds = self._output_megapixels / self._index.rate(CPU, "encode", self._options.codec)
        return seconds * EFFORT_SECONDS[self._options.codec][self._options.effort]

    def _unsupported_reason(self) -> str | None:
        """What about the render itself keeps it off every device."""
        options, source = self._options, self._source
        if options.form != "yuv420p" or options.codec not in NVENC_CODECS:
            return f"{options.codec} of {options.form} runs on the CPU"
        if options.grid:
            return "grids are put together on the CPU"
        if options.deinterlace != "off":
            return "pictures are deinterlaced on the CPU"
        if source.main is None:
            return f"{', '.join(source.formats)} is decoded on the CPU"
        if source.main == UPLOADED and options.bins and options.tone and not self._merges_bins():
            return "such bins of TIFF frames are merged on the CPU"
        if not source.square_pixels:
            return "pixels that are not square run on the CPU"
        quarter = options.rotate in (90, 270)
        width, height = (source.height, source.width) if quarter else (source.width, source.height)
        target = options.bins or options
        if target.width > width + width % 2 or target.height > height + height % 2:
            return "enlarging runs on the CPU"
        return None

    def _merges_bins(self) -> bool:
        """Whether a device merges a bin into one picture.

        The bin must fit into a batch. Deep samples are counted for the receipt, which needs uncropped frames, and the
        brightest of coloured pictures needs their luma, which only the CPU has.
        """
        bins, deep = self._options.bins, self._source.main == UPLOADED
        if bins is None or bins.size > DEVICE_BATCH:
            return False
        if deep:
            bin_bytes = self._source_megapixels * 1e6 * UPLOADED_BYTES
            return bin_bytes <= PINNED_BYTES and self._options.crop is None
        return bins.mode == "mean" or self._options.source_kind == "video"

    def _missing_capability(self, device: str) -> str | None:
        operation = self._source.main or ""
        needs: list[Operation] = [] if operation == UPLOADED else [("decode", operation)]
        needs.append(("transform", "nv12"))
        missing = (need for need in needs if not self._index.usable(device, *need))
        return next((self._index.reason_unusable(device, *need) for need in missing), None)

    def _encoders(self, device: str) -> list[Encoder]:
        usable = self._index.usable(device, "encode", self._options.codec) and self._fits_nvenc()
        return ["cpu", "nvenc"] if usable else ["cpu"]

    def _fits_nvenc(self) -> bool:
        least, most = NVENC_SIDES[self._options.codec]
        sides = (self._options.width, self._options.height)
        return min(sides) >= least and max(sides) <= most

    def _gpu_placement(self, device: str, encoder: Encoder) -> Placement:
        transform = self._source_megapixels / self._index.rate(device, "transform", "nv12")
        busy = self._gpu_decode_seconds(device) + transform
        if encoder == "nvenc":
            busy += self._output_megapixels / self._index.rate(device, "encode", self._options.codec)
            seconds = busy * self._sharing
            encode = StageDevice(device, f"NVENC {self._options.codec}, proven there")
        else:
            downloaded = self._output_megapixels * 1e6 * 1.5 * (1 if self._merges_bins() else self._members)
            busy += downloaded / TRANSFER_BYTES
            seconds = max(busy * self._sharing, self._cpu_encode_seconds() + downloaded / COPY_BYTES)
            reason = f"{self._cpu_encoder()}, one thread a slot; {self._no_nvenc_reason(device)}"
            encode = StageDevice(CPU, reason)
        return Placement(
            Backend("cuda", encoder),
            self._decode_stage(device, busy),
            StageDevice(device, "scale, range and format in one launch"),
            encode,
            seconds,
        )

    def _gpu_decode_seconds(self, device: str) -> float:
        """Seconds on the device; TIFF is decoded by threads of the CPU meanwhile, and uploaded."""
        if self._source.main != UPLOADED:
            return self._source_megapixels / self._index.rate(device, "decode", self._source.main or "")
        threads = self._source_megapixels / self._index.rate(CPU, "decode", UPLOADED) / self._sharing
        return threads + self._source_megapixels * 1e6 * UPLOADED_BYTES / TRANSFER_BYTES

    def _decode_stage(self, device: str, busy: float) -> StageDevice:
        if self._source.main == UPLOADED:
            return StageDevice(CPU, "on CPU threads, then uploaded")
        cpu = format_ms(self._cpu_pixel_seconds())
        return StageDevice(device, f"{format_ms(busy)} a frame with its transfers, against {cpu} on the CPU")

    def _no_nvenc_reason(self, device: str) -> str:
        codec = self._options.codec
        if not self._index.usable(device, "encode", codec):
            return self._index.reason_unusable(device, "encode", codec)
        return "no slower than NVENC" if self._fits_nvenc() else f"{device} encode {codec}: not at this size"


def format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


@dataclass(frozen=True, slots=True)
class GpuAllocation:
    """`memory` is the part of the device's memory that one batch of the slot may take."""

    device: str
    memory: float


def allocate_gpu(
    capabilities: Sequence[Capability], slot: int, slots: int, max_slots: int | None
) -> GpuAllocation | None:
    """Assign GPUs to slots round-robin, at most `max_slots` slots per GPU; None if this slot gets none."""
    devices = sorted({one.device for one in capabilities if one.state != "absent"} - {CPU})
    each = -(-slots // len(devices)) if devices else 0
    if max_slots is not None:
        each = min(each, max_slots)
    if not devices or slot >= each * len(devices):
        return None
    return GpuAllocation(devices[slot % len(devices)], _USABLE_MEMORY / each)


def gpu_disabled_reason(
    capabilities: Sequence[Capability], device: str, options: RenderOptions, attempt: int
) -> str | None:
    """Why the device must not be used in this attempt (counted from 1) at a segment; None when it may."""
    if attempt >= CPU_FALLBACK_ATTEMPT:
        return "two attempts on a GPU ended their slot"
    needed: list[Operation] = [("transform", "nv12")]
    if options.family.encoder != "cpu":
        needed.append(("encode", options.codec))
    for one in capabilities:
        operation = (one.stage, one.what)
        faulty_decoder = one.state == "quarantined" and operation in _DECODERS[options.source_kind]
        unusable = operation in needed and one.state in ("quarantined", "absent")
        if one.device == device and (faulty_decoder or unusable):
            return f"{device} {one.stage} {one.what} is {one.state}: {one.reason}"
    return None
