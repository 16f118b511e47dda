"""A decoded picture on its way to the encoder."""

from dataclasses import dataclass

from av import VideoFrame

from service.pipeline.window import ClipCounts, SampleArray


@dataclass(frozen=True, slots=True)
class Picture:
    """`frame` as the decoder gave it (its own format, range and matrix), still to be turned by `orientation` (EXIF).

    Frames deeper than 8 bits are gray16le or rgb48le: the samples themselves or, with `clipped`, positions in the
    tone's window (what signed, 32-bit and float samples become) and what lay outside of it. Of such, `measured` are the
    samples themselves.
    """

    frame: VideoFrame
    decoder: str
    orientation: int = 1
    clip_counts: ClipCounts | None = None
    raw_samples: SampleArray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as shown, after orientation."""
        width, height = self.frame.width, self.frame.height
        return (height, width) if self.orientation >= 5 else (width, height)
