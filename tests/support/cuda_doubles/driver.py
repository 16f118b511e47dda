"""The double itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av import VideoFrame

from service.pipeline import planes
from service.pipeline.colormaps import colormap
from service.pipeline.colour import IMAGE_COLOUR, LIMITED, Colour, video_colour
from service.pipeline.crop import cropped
from service.pipeline.cuda.driver import EncodedPicture, EncoderSettings, Memory, Samples, Shaping, Tones
from service.pipeline.cuda.faults import CudaFault, CudaOutOfMemory, CudaUnsupported
from service.pipeline.decode import ImageDecoder, picture_of
from service.pipeline.frames import Unreadable
from service.pipeline.layers import Brightest, Mean
from service.pipeline.measured import Measured
from service.pipeline.picture import Picture
from service.pipeline.quality import rate
from service.pipeline.transform import Transform
from service.pipeline.turn import ROTATED
from service.pipeline.window import Window
from service.plan.geometry import Bins
from service.plan.render_plan import RenderOptions
from service.plan.tone import COLORMAPS, Tone

POISON = 0xA5


@dataclass
class Faults:
    """What goes wrong. `most` pictures fit into memory at once; numbers count calls of that kind from 0."""

    most: int = 1000
    undecodable: frozenset[int] = frozenset()
    """Which images, counted over all calls, come back with a reason."""
    shrunk: frozenset[int] = frozenset()
    """Which images come back in another size than they have."""
    shaping: dict[int, CudaFault] = field(default_factory=dict)
    waiting: dict[int, CudaFault] = field(default_factory=dict)
    encoding: dict[int, CudaFault] = field(default_factory=dict)
    nvenc: bool = True
    memory: CudaFault | None = None


@dataclass
class Image:
    picture: Picture
    kind: Literal["rgb", "gray", "nv12"] = "rgb"
    seen_width: int | None = None

    @property
    def width(self) -> int:
        return self.seen_width or self.picture.frame.width

    @property
    def height(self) -> int:
        return self.picture.frame.height


@dataclass
class DevicePicture:
    frame: VideoFrame
    clipped: tuple[int, int, int] | None = None

    @property
    def width(self) -> int:
        return self.frame.width

    @property
    def height(self) -> int:
        return self.frame.height


class Double:
    """`calls` tells how many images each batch had, `downloaded` how many pictures came back."""

    def __init__(self, device: str = "cuda:0", faults: Faults | None = None) -> None:
        self.device, self.faults = device, faults or Faults()
        self.calls: list[int] = []
        self.decoded = self.shaped = self.waited = self.encoded = self.downloaded = 0
        self.sessions, self.closed = 0, False
        self._decoder = ImageDecoder(100_000_000)
        self._blocks: list[np.ndarray[Any, Any]] = []

    def facts(self) -> Mapping[str, str]:
        return {"device": "double"}

    def memory(self) -> Memory:
        if self.faults.memory:
            raise self.faults.memory
        return Memory(1 << 30, 1 << 30)

    def bound(self, share: float) -> None:
        self.share = share

    def decode_jpegs(self, images: Sequence[bytes]) -> list[Image | str]:
        self._fits(len(images))
        return [self._decoded(image) for image in images]

    def _decoded(self, data: bytes) -> Image | str:
        number, self.decoded = self.decoded, self.decoded + 1
        if number in self.faults.undecodable:
            return "the double was told to refuse this one"
        try:
            picture = self._decoder.decode(data)
        except Unreadable as damage:
            return damage.reason
        image = Image(Picture(picture.frame, "double"))
        if number in self.faults.shrunk:
            image.seen_width = image.width // 2
        return image

    def upload(self, samples: Sequence[Samples]) -> list[Image]:
        self._fits(len(samples))
        return [Image(_held(one), "gray" if one.ndim == 2 else "rgb") for one in samples]

    def shape(self, images: Sequence[Image], shaping: Shaping) -> list[DevicePicture]:
        self._fits(len(images))
        self.calls.append(len(images))
        number, self.shaped = self.shaped, self.shaped + 1
        if number in self.faults.shaping:
            raise self.faults.shaping[number]
        starts = range(0, len(images), shaping.members)
        return [_binned(images[start : start + shaping.members], shaping) for start in starts]

    def download(self, pictures: Sequence[DevicePicture]) -> "Transfer":
        self.downloaded += len(pictures)
        block = np.stack([_planes(picture.frame) for picture in pictures])
        self._blocks.append(block)
        if len(self._blocks) > 2:
            self._blocks.pop(0)[:] = POISON
        return Transfer(self, block, [picture.clipped for picture in pictures if picture.clipped])

    def open_decoder(self, codec: str, width: int, height: int) -> "VideoFeed":
        return VideoFeed(codec)

    def open_encoder(self, settings: EncoderSettings) -> "Encoder":
        if not self.faults.nvenc:
            raise CudaUnsupported("this card has no NVENC")
        self.sessions += 1
        return Encoder(self, settings)

    def synchronise(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def _fits(self, count: int) -> None:
        if count > self.faults.most:
            raise CudaOutOfMemory(f"{count} pictures do not fit")


@dataclass
class Transfer:
    driver: Double
    block: np.ndarray[Any, Any]
    counts: list[tuple[int, int, int]]

    def wait(self) -> tuple[np.ndarray[Any, Any], list[tuple[int, int, int]]]:
        number, self.driver.waited = self.driver.waited, self.driver.waited + 1
        if number in self.driver.faults.waiting:
            raise self.driver.faults.waiting[number]
        return self.block, self.counts


class VideoFeed:
    def __init__(self, codec: str) -> None:
        self._context: Any = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
        self._context.thread_count = 1

    def decode(self, packet: bytes, pts: int) -> list[tuple[int, Image]]:
        sent = av.Packet(packet)
        sent.pts = pts
        return [_pictured(frame) for frame in self._context.decode(sent)]

    def finish(self) -> list[tuple[int, Image]]:
        return [_pictured(frame) for frame in self._context.decode(None)]

    def close(self) -> None: ...


class Encoder:
    """libx264, libx265 or SVT-AV1 without reordering: Annex B with parameter sets in the stream, as NVENC's."""

    def __init__(self, driver: Double, settings: EncoderSettings) -> None:
        self._driver, self._count = driver, 0
        names = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
        own = {"h264": {"bf": "0"}, "hevc": {"x265-params": "bframes=0:log-level=none"}}
        self._context: Any = av.CodecContext.create(names[settings.codec], "w")
        self._context.width, self._context.height = settings.width, settings.height
        self._context.pix_fmt, self._context.time_base = "yuv420p", Fraction(1, 30)
        self._context.framerate, self._context.thread_count = Fraction(30), 1
        crf = {"crf": str(rate(settings.codec, settings.quality)), "g": "10000"}
        self._context.options = crf | own.get(settings.codec, {"svtav1-params": "pred-struct=1:lp=1"})

    def parameters(self) -> bytes:
        return b""

    def encode(self, picture: Any) -> list[EncodedPicture]:
        number, self._driver.encoded = self._driver.encoded, self._driver.encoded + 1
        if number in self._driver.faults.encoding:
            raise self._driver.faults.encoding[number]
        frame = _of_nv12(picture) if isinstance(picture, np.ndarray) else planes.relabelled(picture.frame, "yuv420p")
        frame.pts, frame.time_base = self._count, Fraction(1, 30)
        self._count += 1
        return _encoded(self._context.encode(frame))

    def finish(self) -> list[EncodedPicture]:
        return _encoded(self._context.encode(None))

    def close(self) -> None:
        self._driver.sessions -= 1


def _encoded(packets: Sequence[Any]) -> list[EncodedPicture]:
    return [EncodedPicture(bytes(packet), packet.is_keyframe) for packet in packets]


def _of_nv12(packed: np.ndarray[Any, Any]) -> VideoFrame:
    return VideoFrame.from_ndarray(packed, format="nv12").reformat(format="yuv420p")


def _held(samples: Samples) -> Picture:
    if samples.dtype == np.float32:
        low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
        return picture_of(samples, Window(low, high), "double", 1)
    return picture_of(samples, None, "double", 1)


def _pictured(frame: VideoFrame) -> tuple[int, Image]:
    assert frame.pts is not None
    return frame.pts, Image(Picture(frame, "double"), "nv12")


def _planes(frame: VideoFrame) -> np.ndarray[Any, Any]:
    flat = np.concatenate([np.ascontiguousarray(view).reshape(-1) for view in planes.views(frame)])
    return flat.reshape(frame.height // 2 * 3, frame.width)


def _binned(images: Sequence[Image], shaping: Shaping) -> DevicePicture:
    """By the CPU's own layers: measured samples before the tone, means of what is shown, the brightest at full size."""
    if shaping.members == 1:
        return _shaped(images[0], shaping)
    if shaping.tones:
        bins = Bins(shaping.over, shaping.members, *shaping.canvas)
        run = Measured(bins, Window(shaping.tones.low, shaping.tones.high))
        for image in images:
            run.add(image.picture)
        return _fitted(replace(run.take(), orientation=ROTATED[shaping.turn]), IMAGE_COLOUR, shaping)
    if shaping.over == "mean":
        return DevicePicture(_laid(Mean(shaping.members), [_shaped(image, shaping).frame for image in images]))
    full = _at_full_size(images[0], shaping)
    brightest = _laid(Brightest(), [_shaped(image, full).frame for image in images])
    return _fitted(Picture(brightest, "double"), IMAGE_COLOUR, replace(shaping, crop=None, turn=0))


def _at_full_size(image: Image, shaping: Shaping) -> Shaping:
    left, top, right, bottom = shaping.crop or (0, 0, image.width, image.height)
    size = (right - left, bottom - top) if shaping.turn in (0, 180) else (bottom - top, right - left)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    return replace(shaping, size=size, canvas=even, place=(0, 0), members=1)


def _laid(over: Mean | Brightest, frames: Sequence[VideoFrame]) -> VideoFrame:
    for frame in frames:
        over.add(frame)
    whole = over.take()
    whole.color_range = LIMITED
    return whole


def _shaped(image: Image, shaping: Shaping) -> DevicePicture:
    frame = cropped(image.picture.frame, shaping.crop) if shaping.crop else image.picture.frame
    colour = video_colour(frame) if image.kind == "nv12" else IMAGE_COLOUR
    return _fitted(Picture(frame, "double", ROTATED[shaping.turn]), colour, shaping)


def _fitted(picture: Picture, colour: Colour, shaping: Shaping) -> DevicePicture:
    """By the CPU's own Transform, told to do what the shaping says."""
    width, height = (side + side % 2 for side in shaping.size)
    tone = _tone(shaping.tones) if shaping.tones else None
    own = RenderOptions("h264", 70, Fraction(30), width, height, mismatch="scale", tone=tone)
    transform = Transform(own, colour)
    shown, _ = transform.apply(picture)
    if (width, height) != shaping.canvas:
        shown = planes.placed(shown, planes.black(*shaping.canvas), *shaping.place)
    clipped = transform.clipped(picture) if tone else None
    return DevicePicture(shown, tuple(clipped) if clipped else None)


def _tone(tones: Tones) -> Tone:
    if tones.table is None:
        return Tone(tones.low, tones.high, tones.gamma)
    for name in COLORMAPS:
        for inverse in (False, True):
            table = colormap(name)
            if np.array_equal(tones.table, table[::-1] if inverse else table):
                return Tone(tones.low, tones.high, tones.gamma, name, inverse, shallow=True)
    raise AssertionError("no such colormap")
