"""Previews: pictures that a slot makes when somebody asks. What identifies each, its object key, and its JSON."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from uuid import UUID

from service.plan.formats import Codec, SourceKind
from service.plan.geometry import Size
from service.plan.needs import needs_of_options
from service.plan.render_plan import FrameRef, ObjectRef, RenderOptions, SegmentPlan
from service.plan.tone import Tone

# Part of every key: raise it when the same facts would give another picture.
VERSION = "2"
# The folder of grids below that of their first dataset.
GRIDS = "grids/"


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of one dataset: deleting that deletes the picture. See the classes below."""

    dataset: UUID

    picture: ClassVar[str]
    suffix: ClassVar[str]

    @property
    def facts(self) -> tuple[str, ...]:
        """Everything that the picture depends on."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """sha256 (hex) of the facts."""
        return hashlib.sha256("\0".join((VERSION, *self.facts)).encode()).hexdigest()

    @property
    def folder(self) -> str:
        """What the object key begins with."""
        return f"previews/{self.dataset}/"

    @property
    def key(self) -> str:
        return f"{self.folder}{self.digest}.{self.suffix}"

    @property
    def frame_count(self) -> int:
        """Source frames that are shown."""
        return 1

    @property
    def formats(self) -> tuple[str, ...]:
        """What has to be decoded; empty: what the dataset has."""
        return ()

    @property
    def datasets(self) -> tuple[UUID, ...]:
        """Those whose sources it is made of; none if it is made of files of ours."""
        return (self.dataset,)

    @property
    def needs(self) -> list[str]:
        """What a worker must know beside the kind of picture."""
        return []

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        """The objects that it is made of."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        return {"picture": self.picture, "dataset": str(self.dataset), "key": self.key}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FramePreview(Preview):
    """JPEG of a frame (`etag` and `size` as the object store has them now) at a width in pixels."""

    kind: SourceKind
    bucket: str
    frame: FrameRef
    width: int
    max_pixels: int
    tone: Tone | None = None

    picture: ClassVar[str] = "frame"
    suffix: ClassVar[str] = "jpg"

    @property
    def facts(self) -> tuple[str, ...]:
        return self.kind, self.bucket, self.frame.digest(), str(self.width), repr(self.tone)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return _objects_of(self.bucket, (self.frame,))

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("kind", "bucket", "width", "max_pixels")}
        tone = self.tone.to_json() if self.tone else None
        return Preview.to_json(self) | plain | {"frame": self.frame.pack(), "tone": tone}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "FramePreview":
        plain = {name: document[name] for name in ("kind", "bucket", "width", "max_pixels")}
        tone = Tone.from_json(document["tone"]) if document["tone"] else None
        return cls(UUID(document["dataset"]), **plain, frame=FrameRef(*document["frame"]), tone=tone)


@dataclass(frozen=True, slots=True)
class RenderedPreview(Preview):
    """PNG of one output frame of a render, as its encoder would be given it.

    `plan` has the source frames of this output frame; its `lead` are all before it that may be held in its place.
    `beside` are the datasets of the panels of a grid after the first.
    """

    plan: SegmentPlan
    beside: tuple[UUID, ...] = ()

    picture: ClassVar[str] = "rendered"
    suffix: ClassVar[str] = "png"

    @property
    def facts(self) -> tuple[str, ...]:
        return self.picture, self.plan.content_key()

    @property
    def folder(self) -> str:
        """Grids are apart, to be deleted with each of their datasets."""
        return f"previews/{self.dataset}/{GRIDS if self.beside else ''}"

    @property
    def datasets(self) -> tuple[UUID, ...]:
        return self.dataset, *self.beside

    @property
    def frame_count(self) -> int:
        return len(self.plan.frames)

    @property
    def needs(self) -> list[str]:
        return needs_of_options(self.plan.options)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return _objects_of(self.plan.bucket, (*self.plan.frames, *self.plan.lead))

    def to_json(self) -> dict[str, Any]:
        plan = self.plan
        frames = {"frames": [ref.pack() for ref in plan.frames], "lead": [ref.pack() for ref in plan.lead]}
        beside = {"beside": [str(each) for each in self.beside]} if self.beside else {}
        facts = {"bucket": plan.bucket, "options": plan.options.to_json()}
        return Preview.to_json(self) | facts | frames | beside

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "RenderedPreview":
        frames, lead = (tuple(FrameRef(*packed) for packed in document[name]) for name in ("frames", "lead"))
        options = RenderOptions.from_json(document["options"])
        plan = SegmentPlan(0, 0, document["bucket"], options, frames, lead)
        return cls(UUID(document["dataset"]), plan, tuple(map(UUID, document.get("beside", ()))))


@dataclass(frozen=True, slots=True)
class OutputFrame(Preview):
    """PNG of output frame `number` of a render: picture `place` of a file of ours, which has this codec.

    The file is a segment (`sha256` is that of its bytes, if known), or the video (of this `etag` and `size`).
    """

    render: UUID
    number: int
    codec: Codec
    file_key: str
    place: int
    sha256: str | None = None
    etag: str = ""
    size: int = 0

    picture: ClassVar[str] = "output"
    suffix: ClassVar[str] = "png"

    @property
    def datasets(self) -> tuple[UUID, ...]:
        return ()

    @property
    def facts(self) -> tuple[str, ...]:
        return self.picture, self.file_key, self.sha256 or self.etag, str(self.place)

    @property
    def folder(self) -> str:
        """Deleting the render deletes it."""
        return f"previews/{self.dataset}/{self.render}/"

    @property
    def formats(self) -> tuple[str, ...]:
        return (self.codec,)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return frozenset([ObjectRef(own_bucket, self.file_key)])

    def to_json(self) -> dict[str, Any]:
        names = ("number", "codec", "file_key", "place", "sha256", "etag", "size")
        return Preview.to_json(self) | {name: getattr(self, name) for name in names} | {"render": str(self.render)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "OutputFrame":
        names = ("number", "codec", "file_key", "place", "sha256", "etag", "size")
        ids = UUID(document["dataset"]), UUID(document["render"])
        return cls(*ids, **{name: document[name] for name in names})


# The samples of a frame are sent in squares of this side, in pixels.
PATCH_SIDE = 64


@dataclass(frozen=True, slots=True)
class SamplePatch(Preview):
    """JSON of the samples of an image from (`x`, `y`) on, which are multiples of `PATCH_SIDE`."""

    bucket: str
    frame: FrameRef
    x: int
    y: int
    max_pixels: int

    picture: ClassVar[str] = "samples"
    suffix: ClassVar[str] = "json"

    @property
    def facts(self) -> tuple[str, ...]:
        return self.picture, self.bucket, self.frame.digest(), str(self.x), str(self.y)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return _objects_of(self.bucket, (self.frame,))

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("bucket", "x", "y", "max_pixels")}
        return Preview.to_json(self) | plain | {"frame": self.frame.pack()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SamplePatch":
        plain = {name: document[name] for name in ("bucket", "x", "y", "max_pixels")}
        return cls(UUID(document["dataset"]), **plain, frame=FrameRef(*document["frame"]))


# An array of samples has at most so many bytes: a slot holds it in memory beside the frame.
MAX_ARRAY_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class SampleArray(Preview):
    """NPY of the samples of an image in `window` (left, top, width, height), behind the line of `array_head`.

    `size` is that of the frame as the scan has seen it, upright, in pixels; the window is inside of it.
    """

    bucket: str
    frame: FrameRef
    size: Size
    window: tuple[int, int, int, int]
    max_pixels: int

    picture: ClassVar[str] = "array"
    suffix: ClassVar[str] = "npy"

    @property
    def facts(self) -> tuple[str, ...]:
        return self.picture, self.bucket, self.frame.digest(), str(self.size), str(self.window)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return _objects_of(self.bucket, (self.frame,))

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("bucket", "size", "window", "max_pixels")}
        return Preview.to_json(self) | plain | {"frame": self.frame.pack()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SampleArray":
        plain = {name: document[name] for name in ("bucket", "max_pixels")}
        (width, height), window = document["size"], tuple(document["window"])
        ref = FrameRef(*document["frame"])
        return cls(UUID(document["dataset"]), **plain, frame=ref, size=(width, height), window=window)


def array_head(conversions: Sequence[str]) -> bytes:
    """What stands before the NPY in the object of a SampleArray: what was done to the stored samples."""
    return json.dumps(list(conversions)).encode("ascii") + b"\n"


def split_array_head(beginning: bytes) -> tuple[str, bytes]:
    """The JSON of `array_head`, and what follows it."""
    head, _, rest = beginning.partition(b"\n")
    return head.decode("ascii"), rest


# A sheet of thumbnails has this many cells, whose longer side has at most so many pixels.
SHEET_COLUMNS, SHEET_ROWS, MAX_CELL_SIDE = 10, 10, 160
SHEET_FRAMES = SHEET_COLUMNS * SHEET_ROWS
# From the frames of one level to those of the next.
LEVEL_STEP = 10


def cell_size(width: int | None, height: int | None) -> Size:
    """(width, height) of a cell for frames of this size; of none that can be read, there is only a mark."""
    if not width or not height:
        return MAX_CELL_SIDE, MAX_CELL_SIDE
    scale = min(MAX_CELL_SIDE / max(width, height), 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class SheetLevel:
    """Every `stride`-th frame of a dataset, on so many sheets."""

    level: int
    stride: int
    sheets: int

    def frames_of(self, number: int, frame_count: int) -> range:
        """The indexes of the frames on a sheet."""
        span = SHEET_FRAMES * self.stride
        return range(number * span, min((number + 1) * span, frame_count), self.stride)


def sheet_levels(frame_count: int) -> list[SheetLevel]:
    """From all frames to the first level of one sheet; empty for a dataset without frames."""
    levels: list[SheetLevel] = []
    while frame_count and (not levels or levels[-1].sheets > 1):
        stride = LEVEL_STEP ** len(levels)
        levels.append(SheetLevel(len(levels), stride, -(-frame_count // (SHEET_FRAMES * stride))))
    return levels


@dataclass(frozen=True, slots=True)
class ThumbnailSheet(Preview):
    """JPEG of small pictures of these frames, in rows; those that cannot be shown, or have no `key`, are marked."""

    kind: SourceKind
    bucket: str
    frames: tuple[FrameRef, ...]
    cell: Size
    max_pixels: int
    tone: Tone | None = None

    picture: ClassVar[str] = "sheet"
    suffix: ClassVar[str] = "jpg"

    @property
    def facts(self) -> tuple[str, ...]:
        shown = (frame.digest() for frame in self.frames)
        return self.picture, self.kind, self.bucket, str(self.cell), repr(self.tone), *shown

    @property
    def frame_count(self) -> int:
        return len(self.frames)

    def objects(self, own_bucket: str) -> frozenset[ObjectRef]:
        return _objects_of(self.bucket, self.frames)

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("kind", "bucket", "max_pixels")}
        tone = self.tone.to_json() if self.tone else None
        shown = {"frames": [frame.pack() for frame in self.frames], "cell": list(self.cell), "tone": tone}
        return Preview.to_json(self) | plain | shown

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ThumbnailSheet":
        plain = {name: document[name] for name in ("kind", "bucket", "max_pixels")}
        tone = Tone.from_json(document["tone"]) if document["tone"] else None
        frames, (width, height) = tuple(FrameRef(*packed) for packed in document["frames"]), document["cell"]
        return cls(UUID(document["dataset"]), **plain, frames=frames, cell=(width, height), tone=tone)


PREVIEWS: dict[str, type[Preview]] = {
    kind.picture: kind
    for kind in (FramePreview, RenderedPreview, OutputFrame, SamplePatch, SampleArray, ThumbnailSheet)
}


def preview_from_json(document: dict[str, Any]) -> Preview:
    """What `to_json` wrote; earlier versions knew previews of frames only."""
    return PREVIEWS[document.get("picture", FramePreview.picture)].from_json(document)


def _objects_of(bucket: str, frames: tuple[FrameRef, ...]) -> frozenset[ObjectRef]:
    return frozenset(ObjectRef(bucket, frame.key) for frame in frames if frame.key is not None)
