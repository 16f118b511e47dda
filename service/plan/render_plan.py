"""The render plan: what a render will do, as frozen data that survives a trip through JSON.

Everything here is a plain standard-library dataclass, so the pipeline can run it on a bare GPU machine.
Sizes are in pixels, times in seconds, frame indexes count from 0.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from service.plan.colours import BLACK
from service.plan.containers import Codec, Container
from service.plan.outputs import Output
from service.plan.pixel_form import PixelForm
from service.plan.tone import Tone

PIPELINE_VERSION = "2"
"""Part of every content key: raise it when the same input may give other bytes."""

FramePolicy = Literal["skip", "hold", "black", "fail"]
MismatchPolicy = Literal["pad", "scale", "fail"]
SourceKind = Literal["frames", "video"]
FrameOutcome = Literal["ok", "held", "black", "skipped", "resized"]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object: its bucket and key."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One source frame of an output frame.

    `index` is its position in the dataset. `key` names the image object, or the source video object when `pts`
    (in the video stream's own time base) says which picture of it; `key` is None for a hole in the numbering.
    `page` counts the pictures of a multi-page TIFF from 0; `page_offset` is where that page's directory begins.
    """

    index: int
    key: str | None
    etag: str = ""
    size: int = 0
    pts: int | None = None
    page: int | None = None
    page_offset: int = 0

    def digest(self) -> str:
        """The identity of the picture for content keys; changes whenever the stored object does."""
        page = "" if self.page is None else f"\0page {self.page}"
        return f"{self.key}\0{self.etag}\0{self.size}\0{self.pts}{page}"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Canonical options: two requests that mean the same picture compare equal.

    `width` and `height` are even, but for mjpeg and ffv1. `tone` is None where no frame needs one; `background`
    (#rrggbb) is what shows through transparent pixels. `form` is what the encoder is given.
    """

    codec: Codec
    quality: int
    fps: Fraction
    width: int
    height: int
    source_kind: SourceKind = "frames"
    missing: FramePolicy = "skip"
    corrupt: FramePolicy = "hold"
    mismatch: MismatchPolicy = "pad"
    max_pixels: int = 100_000_000
    tone: Tone | None = None
    background: str = BLACK
    container: Container = "mp4"
    form: PixelForm = "yuv420p"
    outputs: tuple[Output, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"fps": str(self.fps)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "RenderOptions":
        tone = document.get("tone")
        nested = {"fps": Fraction(document["fps"]), "tone": Tone.from_json(tone) if tone else None}
        outputs = tuple(document.get("outputs", ()))
        return cls(**(document | nested | {"outputs": outputs}))


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """A closed GOP: `frames` in output order; `lead` are the source frames before it, nearest last, for `hold`."""

    number: int
    first_output: int
    bucket: str
    options: RenderOptions
    frames: tuple[FrameRef, ...]
    lead: tuple[FrameRef, ...] = ()

    def content_key(self) -> str:
        """sha256 (hex) over pipeline version, canonical options and the ordered digests of the source frames.

        The container is not part of it: segments are put into any.
        """
        digest = hashlib.sha256(PIPELINE_VERSION.encode())
        options = self.options.to_json() | {"container": None}
        digest.update(json.dumps(options, sort_keys=True).encode())
        digest.update(self.bucket.encode())
        for frame in (*self.lead, *self.frames):
            digest.update(frame.digest().encode() + b"\n")
        digest.update(str(len(self.lead)).encode())
        return digest.hexdigest()
