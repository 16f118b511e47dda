"""The preview strip and the keogram of a render, put together from the pieces beside its segments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from service.pipeline.by_products import keogram_height, tile_size
from service.pipeline.keogram import Keogram
from service.pipeline.preview_strip import PreviewStrip
from service.plan.formats import ARTIFACT_FILES, Output
from service.plan.render_plan import RenderOptions
from service.store.segment_keys import artifact_key
from service.stream.fragments import segment_duration

PREVIEW_VTT_NAME = "preview.vtt"
ReadObjects = Callable[[Sequence[str]], Iterator[bytes]]
"""The bytes of these objects of the service's bucket, in order."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished by-product: its file name, bytes and media type."""

    name: str
    data: bytes
    media_type: str


@dataclass
class SegmentOffsets:
    """Where on the time line each segment with pictures begins, noted while the video is assembled."""

    starts: list[tuple[str, Fraction]] = field(default_factory=list)
    end: Fraction = Fraction(0)

    def add(self, content_key: str, segment: bytes) -> None:
        self.starts.append((content_key, self.end))
        self.end += segment_duration(segment)


def build_artifacts(
    options: RenderOptions, offsets: SegmentOffsets, frames: int, read_objects: ReadObjects
) -> Iterator[Artifact]:
    """What was asked for. Raises what `each` raises."""

    def pieces(output: Output) -> Iterator[tuple[bytes, Fraction]]:
        found = read_objects([artifact_key(key, ARTIFACT_FILES[output]) for key, _ in offsets.starts])
        return zip(found, (start for _, start in offsets.starts), strict=True)

    if "preview_strip" in options.outputs:
        strip = PreviewStrip(tile_size(options.width, options.height))
        for piece, start in pieces("preview_strip"):
            strip.add(piece, start)
        sprite, cues = strip.finish(offsets.end)
        yield Artifact(ARTIFACT_FILES["preview_strip"], sprite, "image/jpeg")
        yield Artifact(PREVIEW_VTT_NAME, cues, "text/vtt")
    if "keogram" in options.outputs:
        keogram = Keogram(frames, keogram_height(options.height))
        for piece, _ in pieces("keogram"):
            keogram.add(piece)
        yield Artifact(ARTIFACT_FILES["keogram"], keogram.finish(), "image/png")
