"""Every proven way to make a render, with what a frame of it takes one slot."""

from collections.abc import Callable
from dataclasses import dataclass

from service.plan.capability import CPU, Stage
from service.plan.containers import Codec
from service.plan.family import CPU_ONLY, Encoder, PathFamily
from service.plan.proven import Proven
from service.plan.rates import COPY_BYTES, DEVICE_BATCH, PINNED_BYTES, TRANSFER_BYTES, UPLOADED_BYTES
from service.plan.render_plan import RenderOptions

NOT_PROVEN = "no CUDA device is proven on a live worker"
NVENC_CODECS = ("h264", "hevc", "av1")
NVENC_SIDES = {"h264": (160, 4096), "hevc": (160, 8192), "av1": (192, 8192)}
"""Shortest and longest side: the strictest of the generations that have the encoder."""
UPLOADED = "tiff"
"""Decoded by threads of the CPU, shaped on the device."""
ENCODERS: dict[Codec, str] = {
    "h264": "libx264 veryfast",
    "av1": "libsvtav1 preset 10",
    "hevc": "libx265 ultrafast",
    "mjpeg": "JPEGs copied as they are where they fit, else libjpeg-turbo",
    "ffv1": "ffv1 level 3, lossless",
}


@dataclass(frozen=True, slots=True)
class Source:
    """What there is to decode: image formats or video codecs, and the usual (width, height) as shown after the crop."""

    formats: tuple[str, ...]
    width: int
    height: int

    @property
    def main(self) -> str | None:
        """The format that a device could take part in; None when there is none such."""
        known = ("jpeg", UPLOADED, "h264", "hevc", "av1")
        return next((name for name in known if name in (self.formats or ("jpeg",))), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a stage runs, and why there."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """`seconds` is what a frame is expected to take a slot."""

    family: PathFamily
    decode: Choice
    transform: Choice
    encode: Choice
    seconds: float


class Ways:
    """Every way to make the render that is proven."""

    def __init__(self, proven: Proven, options: RenderOptions, source: Source, sharing: float) -> None:
        self._proven, self._options, self._source, self._sharing = proven, options, source, max(sharing, 1.0)
        self._members = options.bins.size if options.bins else 1
        self._in = source.width * source.height * self._members / 1e6
        self._out = options.width * options.height / 1e6

    def all_cpu(self) -> Callable[[str], Route]:
        """A function of why."""
        encode = f"{self._encoder()}, one thread a slot"
        return lambda why: Route(
            CPU_ONLY,
            Choice(CPU, why),
            Choice(CPU, "scale, range and format in one pass"),
            Choice(CPU, f"{encode}; {why}"),
            self.cpu_seconds(),
        )

    def on_devices(self) -> list[Route]:
        """With decode and transform on a device; of the encoders each that fits."""
        if self._unfit():
            return []
        devices = [device for device in self._proven.devices if not self._lacks(device)]
        return [self._route(device, encoder) for device in devices for encoder in self._encoders(device)]

    def obstacle(self) -> str:
        """Why there is nothing on a device."""
        lacking = (why for device in self._proven.devices if (why := self._lacks(device)))
        return self._unfit() or next(lacking, NOT_PROVEN)

    def cpu_seconds(self) -> float:
        return self._cpu_pixels() + self._cpu_encode()

    def _cpu_pixels(self) -> float:
        decode = self._proven.rate(CPU, "decode", self._source.main or "")
        return self._in / decode + self._in / self._proven.rate(CPU, "transform", "nv12")

    def _encoder(self) -> str:
        return ENCODERS[self._options.codec]

    def _cpu_encode(self) -> float:
        return self._out / self._proven.rate(CPU, "encode", self._options.codec)

    def _unfit(self) -> str | None:
        """What about the render itself keeps it off a device."""
        options, source = self._options, self._source
        if options.form != "yuv420p" or options.codec not in NVENC_CODECS:
            return f"{options.codec} of {options.form} is made by the CPU"
        if source.main is None:
            return f"{', '.join(source.formats)} is decoded by the CPU"
        if source.main == UPLOADED and options.bins and options.tone and not self._whole_bins():
            return "such bins of TIFF frames are made by the CPU"
        across = options.rotate in (90, 270)
        wide, high = (source.height, source.width) if across else (source.width, source.height)
        shown = options.bins or options
        if shown.width > wide + wide % 2 or shown.height > high + high % 2:
            return "pictures are enlarged by the CPU"
        return None

    def _whole_bins(self) -> bool:
        """Whether a device makes one picture of a bin: it fits into a batch; samples are counted where none is cut off,
        and the brightest of colours are the CPU's, which has their luma."""
        bins, deep = self._options.bins, self._source.main == UPLOADED
        if bins is None or bins.size > DEVICE_BATCH:
            return False
        if deep:
            return self._in * 1e6 * UPLOADED_BYTES <= PINNED_BYTES and self._options.crop is None
        return bins.mode == "mean" or self._options.source_kind == "video"

    def _lacks(self, device: str) -> str | None:
        what = self._source.main or ""
        needs: list[tuple[Stage, str]] = [] if what == UPLOADED else [("decode", what)]
        needs.append(("transform", "nv12"))
        return next(
            (self._proven.why_not(device, *need) for need in needs if not self._proven.usable(device, *need)), None
        )

    def _encoders(self, device: str) -> list[Encoder]:
        return (
            ["cpu", "nvenc"] if self._proven.usable(device, "encode", self._options.codec) and self._fits() else ["cpu"]
        )

    def _fits(self) -> bool:
        least, most = NVENC_SIDES[self._options.codec]
        sides = (self._options.width, self._options.height)
        return min(sides) >= least and max(sides) <= most

    def _route(self, device: str, encoder: Encoder) -> Route:
        pixels = self._decode(device) + self._in / self._proven.rate(device, "transform", "nv12")
        down = self._out * 1e6 * 1.5 * (1 if self._whole_bins() else self._members)
        if encoder == "nvenc":
            busy = pixels + self._out / self._proven.rate(device, "encode", self._options.codec)
            seconds = busy * self._sharing
        else:
            busy = pixels + down / TRANSFER_BYTES
            seconds = max(busy * self._sharing, self._cpu_encode() + down / COPY_BYTES)
        return self._told(device, encoder, busy, seconds)

    def _decode(self, device: str) -> float:
        """Seconds on the device; TIFF is decoded by threads of the CPU meanwhile, and uploaded."""
        if self._source.main != UPLOADED:
            return self._in / self._proven.rate(device, "decode", self._source.main or "")
        threads = self._in / self._proven.rate(CPU, "decode", UPLOADED) / self._sharing
        return threads + self._in * 1e6 * UPLOADED_BYTES / TRANSFER_BYTES

    def _told(self, device: str, encoder: Encoder, busy: float, seconds: float) -> Route:
        cpu = milliseconds(self._cpu_pixels())
        decode = Choice(device, f"{milliseconds(busy)} a frame with its transfers, against {cpu} by the CPU")
        if self._source.main == UPLOADED:
            decode = Choice(CPU, "by threads, then uploaded")
        encode = Choice(device, f"NVENC {self._options.codec}, proven there")
        if encoder == "cpu":
            encode = Choice(CPU, f"{self._encoder()}, one thread a slot; {self._no_nvenc(device)}")
        transform = Choice(device, "scale, range and format in one launch")
        return Route(PathFamily("cuda", encoder), decode, transform, encode, seconds)

    def _no_nvenc(self, device: str) -> str:
        codec = self._options.codec
        if not self._proven.usable(device, "encode", codec):
            return self._proven.why_not(device, "encode", codec)
        return "no slower than NVENC" if self._fits() else f"{device} encode {codec}: not at this size"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
