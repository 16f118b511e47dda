"""The render plan: what a render will do, as frozen data that survives a trip through JSON.

Everything here is a plain standard-library dataclass, so the pipeline can run it on a bare GPU machine.
Sizes are in pixels, times in seconds, frame indexes count from 0.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Any, Literal

from service.plan.colour import Colour
from service.plan.formats import BLACK, Codec, Container, Effort, Output, PixelFormat, SourceKind
from service.plan.geometry import Bins, Crop, Size, square_size
from service.plan.grid import Grid
from service.plan.overlay import Overlay
from service.plan.tone import Tone

# Part of every content key: raise it when the same input may give other bytes.
PIPELINE_VERSION = "9"

# Ticks per second of a render paced by capture times: fine enough for any camera; a day of them fits 31 bits.
TICKS = 10_000

FramePolicy = Literal["skip", "hold", "black", "fail"]
MismatchPolicy = Literal["pad", "scale", "fail"]
FrameOutcome = Literal["ok", "held", "black", "skipped", "resized", "partial"]
PixelBackend = Literal["cpu", "cuda"]
Encoder = Literal["cpu", "nvenc"]
ClockAnomaly = Literal["same", "unknown", "back", "jump"]
FieldOrder = Literal["progressive", "top", "bottom", "mixed", "separate"]
Deinterlace = Literal["auto", "off", "on"]
Gaps = Literal["numbers", "interval", "none"]

# Of interlaced pictures: which field is first, or that each picture says so itself.
INTERLACED: tuple[FieldOrder, ...] = ("top", "bottom", "mixed")
# The fields are pictures of their own, of half the height: there is nothing to deinterlace.
SEPARATE_FIELDS: FieldOrder = "separate"

CLOCK_ANOMALIES: dict[ClockAnomaly, str] = {
    "same": "captured at the same time as the frame before it: they share the time up to the next",
    "unknown": "no capture time: placed evenly between the frames around it",
    "back": "the camera's clock went back here: the frame before it is shown for the usual time",
    "jump": "the camera's clock leapt ahead here: the frame before it is shown for the usual time",
}


@dataclass(frozen=True, slots=True)
class Backend:
    """Which implementations make the pictures and the bytes of a render: `pixels` decodes and transforms.

    A CPU and a GPU may differ in the result, so a segment's content key names the backend, and their segments are never
    mixed in a cache or in a file. A frame that falls back to the CPU keeps the backend of its render; an encoder never
    falls back: see `service.store.renders.lifecycle`.
    """

    pixels: PixelBackend = "cpu"
    encoder: Encoder = "cpu"


CPU_ONLY = Backend()


@dataclass(frozen=True, slots=True)
class CapturedTiming:
    """`speed` seconds of capture time pass in a second of video."""

    speed: Fraction


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object: its bucket and key."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One source frame of an output frame.

    `index` is its position in the dataset. `key` names the image object, or the source video object when `pts`
    (in the video stream's own time base) says which picture of it; `key` is None for a gap in the numbering. Where the
    timestamps of a source video do not tell its pictures apart, `pts` counts them, and `packet` is the number of the
    packet that holds the picture.
    `page` counts the pictures of a multi-page TIFF from 0; `page_offset` is where that page's directory begins.
    `captured` is the capture time in microseconds since 1970. Where the render needs them, `shown_for` is the frame's
    share of the video in ticks of the render's time base, `clock` an anomaly of the capture time, and `elapsed` the
    microseconds that the overlay shows. `field_order` is set for pictures that are interlaced, or fields; `pts_before`
    and `pts_after` are the pictures before and after in the video, for those that may be deinterlaced.
    `panel` is set for the panels of a grid after the first; `index` then counts the frames of that panel's dataset.
    """

    index: int
    key: str | None
    etag: str = ""
    size: int = 0
    pts: int | None = None
    page: int | None = None
    page_offset: int = 0
    captured: int | None = None
    shown_for: int | None = None
    clock: ClockAnomaly | None = None
    elapsed: int | None = None
    packet: int | None = None
    field_order: FieldOrder | None = None
    pts_before: int | None = None
    pts_after: int | None = None
    packet_before: int | None = None
    packet_after: int | None = None
    panel: int | None = None

    @property
    def item(self) -> str:
        """What a slot that works on it says it works on: "12", or "12/1" in panel 1 of a grid."""
        return str(self.index) if self.panel is None else f"{self.index}/{self.panel}"

    def pack(self) -> list[Any]:
        """The arguments of FrameRef, for JSON; the last are left out when they are None, so that earlier versions can
        read what they know."""
        packed = list(_fields_of(self))
        while packed[-1] is None:
            packed.pop()
        return packed

    def digest(self) -> str:
        """The identity of the picture for content keys; changes whenever the stored object does.

        So it does when the frame moves in its dataset: receipts name its index, and overlays may show it.
        """
        page = "" if self.page is None else f"\0page {self.page}"
        known = (self.captured, self.shown_for, self.clock, self.elapsed)
        times = "".join(f"\0{time}" for time in known) if known != (None, None, None, None) else ""
        packet = "" if self.packet is None else f"\0packet {self.packet}"
        fields = (self.field_order, self.pts_before, self.pts_after)
        order = "".join(f"\0{part}" for part in ("fields", *fields)) if fields != (None, None, None) else ""
        return f"{self.index}\0{self.key}\0{self.etag}\0{self.size}\0{self.pts}{page}{times}{packet}{order}"


_fields_of: Callable[[FrameRef], tuple[Any, ...]] = attrgetter(*FrameRef.__slots__)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Canonical options: two requests that mean the same picture compare equal.

    `width` and `height` are even, but for mjpeg and ffv1. `tone` is None where no frame needs one; `background`
    (#rrggbb) shows through transparent pixels. `form` is the pixel format that the encoder is given.
    `effort` is one that differs for the codec.
    `colour` is what all segments of source videos are tagged with and converted to; None for images, and for datasets
    whose scan did not note the sources' colours: then each segment has its first source's.
    An upright source frame is cropped, then rotated by `rotate` degrees clockwise, then scaled. `family` is the
    backend: the CPU unless a GPU had passed its self-test when the render was planned. `pixel_aspect` is the width to
    the height of an output pixel: 1, but for ffv1 that keeps the samples of such a source. None: the samples of sources
    are shown as stored, because the size was planned before the shape of their pixels was known.
    `deinterlace` is off where the request or the dataset leaves nothing to deinterlace. With a `grid`, `width` x
    `height` is the size of the whole picture; `source_kind` and `tone` are those of its first panel.
    """

    codec: Codec
    quality: int
    fps: Fraction
    width: int
    height: int
    source_kind: SourceKind = "frames"
    missing: FramePolicy = "skip"
    changed: FramePolicy = "fail"
    corrupt: FramePolicy = "hold"
    mismatch: MismatchPolicy = "pad"
    max_pixels: int = 100_000_000
    tone: Tone | None = None
    background: str = BLACK
    container: Container = "mp4"
    form: PixelFormat = "yuv420p"
    crop: Crop | None = None
    rotate: int = 0
    bins: Bins | None = None
    timing: CapturedTiming | None = None
    overlay: Overlay | None = None
    outputs: tuple[Output, ...] = ()
    effort: Effort = "balanced"
    family: Backend = CPU_ONLY
    colour: Colour | None = None
    pixel_aspect: Fraction | None = Fraction(1)
    deinterlace: Deinterlace = "off"
    grid: Grid | None = None

    @property
    def sources_per_output(self) -> int:
        """How many source frames make an output frame: those of a bin (the last may have fewer), or of a grid."""
        if self.grid:
            return len(self.grid.panels)
        return self.bins.size if self.bins else 1

    @property
    def shown_size(self) -> Size:
        """(width, height) of the output in square pixels."""
        return square_size((self.width, self.height), self.pixel_aspect or Fraction(1))

    def deinterlaces(self, frame: FrameRef) -> bool:
        """Whether this picture of a source video is deinterlaced, if its own flags do not say otherwise."""
        if frame.field_order == SEPARATE_FIELDS:
            return False
        return self.deinterlace == "on" or (self.deinterlace == "auto" and frame.field_order in INTERLACED)

    @property
    def ticks(self) -> Fraction:
        """Ticks per second of the time base. At a steady rate each picture is one tick long."""
        return Fraction(TICKS) if self.timing else self.fps

    def to_json(self) -> dict[str, Any]:
        timing = {"speed": str(self.timing.speed)} if self.timing else None
        document = dataclasses.asdict(self) | {"fps": str(self.fps), "timing": timing}
        document["pixel_aspect"] = str(self.pixel_aspect) if self.pixel_aspect else None
        if self.colour is None:
            del document["colour"]
        if self.family == CPU_ONLY:  # the CPU's keys are older than backends, and stay as they were
            del document["family"]
        if self.grid is None:  # as above
            del document["grid"]
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "RenderOptions":
        tone, crop, bins, timing, overlay, family, colour, grid = (
            document.get(name) for name in ("tone", "crop", "bins", "timing", "overlay", "family", "colour", "grid")
        )
        nested = {
            "fps": Fraction(document["fps"]),
            "tone": Tone.from_json(tone) if tone else None,
            "crop": Crop(**crop) if crop else None,
            "bins": Bins(**bins) if bins else None,
            "overlay": Overlay.from_json(overlay) if overlay else None,
            "timing": CapturedTiming(Fraction(timing["speed"])) if timing else None,
            "outputs": tuple(document.get("outputs", ())),
            "family": Backend(**family) if family else CPU_ONLY,
            "pixel_aspect": Fraction(document["pixel_aspect"]) if document.get("pixel_aspect") else None,
            "colour": Colour.from_json(colour) if colour else None,
            "grid": Grid.from_json(grid) if grid else None,
        }
        return cls(**(document | nested))


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """A closed GOP: `frames` in output order; `lead` are the source frames before it, nearest last, for `hold`.

    With bins, as many `frames` as a bin holds make one output frame, and `lead` is the bin before. In a grid, each
    output frame has one for each panel, in order.
    """

    number: int
    first_output: int
    bucket: str
    options: RenderOptions
    frames: tuple[FrameRef, ...]
    lead: tuple[FrameRef, ...] = ()

    def outputs(self) -> Sequence[tuple[FrameRef, ...]]:
        """The source frames of each output frame."""
        return self._group_by_output(self.frames)

    def frames_to_read(self) -> Iterator[FrameRef]:
        """The frames in the order in which they are read: a panel of a grid that shows one again does not read it."""
        last: dict[int | None, FrameRef] = {}
        for frame in self.frames:
            if self.options.grid is None or last.get(frame.panel) != frame:
                yield frame
            last[frame.panel] = frame

    def lead_outputs(self) -> Sequence[tuple[FrameRef, ...]]:
        return self._group_by_output(self.lead)

    def shown_for(self, refs: Sequence[FrameRef]) -> int:
        """Ticks for which the output frame made of these source frames is shown."""
        if not self.options.timing:
            return 1
        return sum(ref.shown_for or 1 for ref in refs if ref.panel is None)

    def seconds(self) -> Fraction:
        """How long the segment lasts when no frame is skipped."""
        lasts = sum(map(self.shown_for, self.outputs())) if self.options.timing else len(self.outputs())
        return lasts / self.options.ticks

    def _group_by_output(self, refs: tuple[FrameRef, ...]) -> Sequence[tuple[FrameRef, ...]]:
        size = self.options.sources_per_output
        return [refs[start : start + size] for start in range(0, len(refs), size)]

    def content_key(self) -> str:
        """sha256 (hex) over pipeline version, canonical options and the ordered digests of the source frames.

        The container is not part of it: segments are put into any.
        """
        return content_keys([self])[0]

    def _key(self, head: bytes) -> str:
        """Every part ends with a character that it cannot contain: no two plans are written alike."""
        digest = hashlib.sha256(head)
        digest.update(f"\0{self.bucket}\0{len(self.lead)}\0".encode())
        digest.update("".join(f"{frame.digest()}\n" for frame in (*self.lead, *self.frames)).encode())
        return digest.hexdigest()


def content_keys(plans: Sequence[SegmentPlan]) -> list[str]:
    """The content key of each segment of one render, whose options are serialised once."""
    if not plans:
        return []
    options = plans[0].options.to_json() | {"container": None}
    head = PIPELINE_VERSION.encode() + json.dumps(options, sort_keys=True).encode()
    return [plan._key(head) for plan in plans]
