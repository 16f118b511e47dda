"""A decoded picture on its way to the encoder."""

from dataclasses import dataclass

from av import VideoFrame


@dataclass(frozen=True, slots=True)
class Picture:
    """`frame` as the decoder gave it (its own format, range and matrix), still to be turned by `orientation` (EXIF)."""

    frame: VideoFrame
    decoder: str
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as shown, after orientation."""
        width, height = self.frame.width, self.frame.height
        return (height, width) if self.orientation >= 5 else (width, height)
