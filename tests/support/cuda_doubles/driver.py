"""A driver that computes on the CPU and fails on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av import VideoFrame

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR, LIMITED_RANGE, ColourTags, video_colour
from service.pipeline.cuda.driver import (
    DeviceMemory,
    EncodedPicture,
    EncoderSettings,
    Samples,
    ToneCurve,
    TransformSpec,
)
from service.pipeline.cuda.errors import CudaError, CudaOutOfMemory, CudaUnsupported
from service.pipeline.encode.codecs import encoder_quality
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder, to_picture
from service.pipeline.images.header import DecodeOptions
from service.pipeline.orientation import ORIENTATION_BY_DEGREES
from service.pipeline.picture import ClipCounts, Picture
from service.pipeline.tone.colormaps import colormap
from service.pipeline.tone.window import Window
from service.pipeline.transform.accumulators import MaxAccumulator, MeanAccumulator, RawBinAccumulator
from service.pipeline.transform.crop import crop_frame
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Bins
from service.plan.render_plan import RenderOptions
from service.plan.tone import COLORMAPS, Tone

POISON = 0xA5


@dataclass
class Faults:
    """What fails. At most `max_images` fit into memory at once; keys are numbers of calls of that kind, from 0."""

    max_images: int = 1000
    # Images, counted over all calls, that are returned as a reason.
    undecodable_images: frozenset[int] = frozenset()
    # Images that are returned with a wrong size.
    resized_images: frozenset[int] = frozenset()
    transform_errors: dict[int, CudaError] = field(default_factory=dict)
    download_errors: dict[int, CudaError] = field(default_factory=dict)
    encode_errors: dict[int, CudaError] = field(default_factory=dict)
    has_nvenc: bool = True
    memory_error: CudaError | None = None


@dataclass
class HostImage:
    picture: Picture
    kind: Literal["rgb", "gray", "nv12"] = "rgb"
    reported_width: int | None = None

    @property
    def width(self) -> int:
        return self.reported_width or self.picture.frame.width

    @property
    def height(self) -> int:
        return self.picture.frame.height


@dataclass
class HostPicture:
    frame: VideoFrame
    clipped: ClipCounts | None = None

    @property
    def width(self) -> int:
        return self.frame.width

    @property
    def height(self) -> int:
        return self.frame.height


class DriverDouble:
    """Counts its calls: `batch_sizes` are the images of each transform, `download_count` the downloaded pictures."""

    def __init__(self, device: str = "cuda:0", faults: Faults | None = None) -> None:
        self.device, self.faults = device, faults or Faults()
        self.batch_sizes: list[int] = []
        self.decode_count = self.transform_count = self.wait_count = self.encode_count = self.download_count = 0
        self.open_sessions, self.closed = 0, False
        self._decoder = ImageDecoder(DecodeOptions(100_000_000))
        self._blocks: list[np.ndarray[Any, Any]] = []

    def facts(self) -> Mapping[str, str]:
        return {"device": "double"}

    def memory(self) -> DeviceMemory:
        if self.faults.memory_error:
            raise self.faults.memory_error
        return DeviceMemory(1 << 30, 1 << 30)

    def set_memory_limit(self, fraction: float) -> None:
        self.share = fraction

    def decode_jpegs(self, images: Sequence[bytes]) -> list[HostImage | str]:
        self._require_memory(len(images))
        return [self._decode(image) for image in images]

    def _decode(self, data: bytes) -> HostImage | str:
        number, self.decode_count = self.decode_count, self.decode_count + 1
        if number in self.faults.undecodable_images:
            return "the double refuses this one"
        try:
            picture = self._decoder.decode(data)
        except MediaUnreadable as damage:
            return damage.reason
        image = HostImage(Picture(picture.frame, "double"))
        if number in self.faults.resized_images:
            image.reported_width = image.width // 2
        return image

    def upload(self, samples: Sequence[Samples]) -> list[HostImage]:
        self._require_memory(len(samples))
        return [HostImage(_to_picture(one), "gray" if one.ndim == 2 else "rgb") for one in samples]

    def transform(self, images: Sequence[HostImage], spec: TransformSpec) -> list[HostPicture]:
        self._require_memory(len(images))
        self.batch_sizes.append(len(images))
        number, self.transform_count = self.transform_count, self.transform_count + 1
        if number in self.faults.transform_errors:
            raise self.faults.transform_errors[number]
        starts = range(0, len(images), spec.bin_size)
        return [_transform_bin(images[start : start + spec.bin_size], spec) for start in starts]

    def download(self, pictures: Sequence[HostPicture]) -> "HostTransfer":
        self.download_count += len(pictures)
        block = np.stack([_to_i420(picture.frame) for picture in pictures])
        self._blocks.append(block)
        if len(self._blocks) > 2:
            self._blocks.pop(0)[:] = POISON
        return HostTransfer(self, block, [picture.clipped for picture in pictures if picture.clipped])

    def open_decoder(self, codec: str) -> "SoftwareDecoder":
        return SoftwareDecoder(codec)

    def open_encoder(self, settings: EncoderSettings) -> "SoftwareEncoder":
        if not self.faults.has_nvenc:
            raise CudaUnsupported("this card has no NVENC")
        self.open_sessions += 1
        return SoftwareEncoder(self, settings)

    def synchronise(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def _require_memory(self, count: int) -> None:
        if count > self.faults.max_images:
            raise CudaOutOfMemory(f"{count} pictures do not fit")


@dataclass
class HostTransfer:
    driver: DriverDouble
    block: np.ndarray[Any, Any]
    counts: list[ClipCounts]

    def wait(self) -> tuple[np.ndarray[Any, Any], list[ClipCounts]]:
        number, self.driver.wait_count = self.driver.wait_count, self.driver.wait_count + 1
        if number in self.driver.faults.download_errors:
            raise self.driver.faults.download_errors[number]
        return self.block, self.counts


class SoftwareDecoder:
    def __init__(self, codec: str) -> None:
        self._context: Any = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
        self._context.thread_count = 1

    def decode(self, packet: bytes, pts: int) -> list[tuple[int, HostImage]]:
        sent = av.Packet(packet)
        sent.pts = pts
        return [_to_timed_image(frame) for frame in self._context.decode(sent)]

    def finish(self) -> list[tuple[int, HostImage]]:
        return [_to_timed_image(frame) for frame in self._context.decode(None)]

    def close(self) -> None: ...


class SoftwareEncoder:
    """libx264, libx265 or SVT-AV1 without reordering: Annex B with parameter sets in the stream, like NVENC."""

    def __init__(self, driver: DriverDouble, settings: EncoderSettings) -> None:
        self._driver, self._count = driver, 0
        names = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
        own = {"h264": {"bf": "0"}, "hevc": {"x265-params": "bframes=0:log-level=none"}}
        self._context: Any = av.CodecContext.create(names[settings.codec], "w")
        self._context.width, self._context.height = settings.width, settings.height
        self._context.pix_fmt, self._context.time_base = "yuv420p", Fraction(1, 30)
        self._context.framerate, self._context.thread_count = Fraction(30), 1
        crf = {"crf": str(encoder_quality(settings.codec, settings.quality)), "g": "10000"}
        self._context.options = crf | own.get(settings.codec, {"svtav1-params": "pred-struct=1:lp=1"})

    def parameters(self) -> bytes:
        return b""

    def encode(self, picture: Any) -> list[EncodedPicture]:
        number, self._driver.encode_count = self._driver.encode_count, self._driver.encode_count + 1
        if number in self._driver.faults.encode_errors:
            raise self._driver.faults.encode_errors[number]
        frame = _nv12_to_frame(picture) if isinstance(picture, np.ndarray) else planes.relabel(picture.frame, "yuv420p")
        frame.pts, frame.time_base = self._count, Fraction(1, 30)
        self._count += 1
        return _to_encoded_pictures(self._context.encode(frame))

    def finish(self) -> list[EncodedPicture]:
        return _to_encoded_pictures(self._context.encode(None))

    def close(self) -> None:
        self._driver.open_sessions -= 1


def _to_encoded_pictures(packets: Sequence[Any]) -> list[EncodedPicture]:
    return [EncodedPicture(bytes(packet), packet.is_keyframe) for packet in packets]


def _nv12_to_frame(packed: np.ndarray[Any, Any]) -> VideoFrame:
    return VideoFrame.from_ndarray(packed, format="nv12").reformat(format="yuv420p")


def _to_picture(samples: Samples) -> Picture:
    if samples.dtype == np.float32:
        low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
        return to_picture(samples, Window(low, high), "double", 1)
    return to_picture(samples, None, "double", 1)


def _to_timed_image(frame: VideoFrame) -> tuple[int, HostImage]:
    assert frame.pts is not None
    return frame.pts, HostImage(Picture(frame, "double"), "nv12")


def _to_i420(frame: VideoFrame) -> np.ndarray[Any, Any]:
    flat = np.concatenate([np.ascontiguousarray(view).reshape(-1) for view in planes.plane_views(frame)])
    return flat.reshape(frame.height // 2 * 3, frame.width)


def _transform_bin(images: Sequence[HostImage], spec: TransformSpec) -> HostPicture:
    """With the accumulators of the CPU path: raw samples before the tone, means of shown frames, maxima at full size."""
    if spec.bin_size == 1:
        return _transform_image(images[0], spec)
    if spec.tone:
        bins = Bins(spec.bin_mode, spec.bin_size, *spec.canvas)
        run = RawBinAccumulator(bins, Window(spec.tone.low, spec.tone.high))
        for image in images:
            run.add(image.picture)
        return _fit(replace(run.finish(), orientation=ORIENTATION_BY_DEGREES[spec.rotation]), IMAGE_COLOUR, spec)
    if spec.bin_mode == "mean":
        return HostPicture(
            _merge(MeanAccumulator(spec.bin_size), [_transform_image(image, spec).frame for image in images])
        )
    full = _full_size_spec(images[0], spec)
    brightest = _merge(MaxAccumulator(), [_transform_image(image, full).frame for image in images])
    return _fit(Picture(brightest, "double"), IMAGE_COLOUR, replace(spec, crop=None, rotation=0))


def _full_size_spec(image: HostImage, spec: TransformSpec) -> TransformSpec:
    left, top, right, bottom = spec.crop or (0, 0, image.width, image.height)
    size = (right - left, bottom - top) if spec.rotation in (0, 180) else (bottom - top, right - left)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    return replace(spec, size=size, canvas=even, offset=(0, 0), bin_size=1)


def _merge(over: MeanAccumulator | MaxAccumulator, frames: Sequence[VideoFrame]) -> VideoFrame:
    for frame in frames:
        over.add(frame)
    whole = over.finish()
    whole.color_range = LIMITED_RANGE
    return whole


def _transform_image(image: HostImage, spec: TransformSpec) -> HostPicture:
    frame = crop_frame(image.picture.frame, spec.crop) if spec.crop else image.picture.frame
    colour = ColourTags.of(video_colour(frame)) if image.kind == "nv12" else IMAGE_COLOUR
    return _fit(Picture(frame, "double", ORIENTATION_BY_DEGREES[spec.rotation]), colour, spec)


def _fit(picture: Picture, colour: ColourTags, spec: TransformSpec) -> HostPicture:
    """With the FrameTransform of the CPU path, configured by the spec."""
    width, height = (side + side % 2 for side in spec.size)
    tone = _to_tone(spec.tone) if spec.tone else None
    own = RenderOptions("h264", 70, Fraction(30), width, height, mismatch="scale", tone=tone)
    transform = FrameTransform(own, colour)
    shown, _ = transform.apply(picture)
    if (width, height) != spec.canvas:
        shown = planes.paste(shown, planes.black_frame(*spec.canvas), *spec.offset)
    clipped = transform.count_clipped(picture) if tone else None
    return HostPicture(shown, clipped)


def _to_tone(curve: ToneCurve) -> Tone:
    if curve.table is None:
        return Tone(curve.low, curve.high, curve.gamma)
    for name in COLORMAPS:
        for inverse in (False, True):
            table = colormap(name)
            if np.array_equal(curve.table, table[::-1] if inverse else table):
                return Tone(curve.low, curve.high, curve.gamma, name, inverse, shallow=True)
    raise AssertionError("no such colormap")
