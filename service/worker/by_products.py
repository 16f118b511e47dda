"""The preview strip and the keogram of a render, put together from the pieces beside its segments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from service.pipeline.by_products import column_height, tile_size
from service.pipeline.keogram import Keogram
from service.pipeline.preview_strip import PreviewStrip
from service.plan.formats import ARTIFACT_FILES, Output
from service.plan.render_plan import RenderOptions
from service.store.segment_keys import piece_key
from service.stream.fragments import duration

VTT = "preview.vtt"
Each = Callable[[Sequence[str]], Iterator[bytes]]
"""The bytes of these objects of the service's bucket, in order."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A finished by-product: its file name, bytes and media type."""

    name: str
    data: bytes
    media_type: str


@dataclass
class Places:
    """Where on the time line each segment with pictures begins, noted while the video is assembled."""

    starts: list[tuple[str, Fraction]] = field(default_factory=list)
    end: Fraction = Fraction(0)

    def note(self, content_key: str, segment: bytes) -> None:
        self.starts.append((content_key, self.end))
        self.end += duration(segment)


def made(options: RenderOptions, places: Places, frames: int, each: Each) -> Iterator[Extra]:
    """What was asked for. Raises what `each` raises."""

    def pieces(output: Output) -> Iterator[tuple[bytes, Fraction]]:
        found = each([piece_key(key, ARTIFACT_FILES[output]) for key, _ in places.starts])
        return zip(found, (start for _, start in places.starts), strict=True)

    if "preview_strip" in options.outputs:
        strip = PreviewStrip(tile_size(options.width, options.height))
        for piece, start in pieces("preview_strip"):
            strip.add(piece, start)
        sprite, cues = strip.finish(places.end)
        yield Extra(ARTIFACT_FILES["preview_strip"], sprite, "image/jpeg")
        yield Extra(VTT, cues, "text/vtt")
    if "keogram" in options.outputs:
        keogram = Keogram(frames, column_height(options.height))
        for piece, _ in pieces("keogram"):
            keogram.add(piece)
        yield Extra(ARTIFACT_FILES["keogram"], keogram.finish(), "image/png")
