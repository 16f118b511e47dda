"""Small pieces of a preview strip and a keogram, taken from the frames on their way to the encoder."""

import io
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from service.pipeline import planes
from service.pipeline.work import EncoderInput
from service.plan.formats import ARTIFACT_FILES
from service.plan.render_plan import RenderOptions

Pixels = NDArray[np.uint8]
MAX_TILE_SIDE, MAX_KEOGRAM_HEIGHT = 160, 480
"""Pixels: the longer side of a preview tile; the tallest keogram."""
KEOGRAM_STRIP_WIDTH = 16
"""Luma columns around the middle that are converted for one column of the keogram: swscale wants a few."""


class SegmentArtifacts:
    """One segment's pieces: a tile for each second begun, and a column for every frame. Empty unless asked for."""

    def __init__(self, options: RenderOptions) -> None:
        self._outputs = options.outputs
        self._tile_size = tile_size(options.width, options.height)
        self._height = keogram_height(options.height)
        self._tiles: list[Pixels] = []
        self._times: list[int] = []
        self._columns: list[Pixels] = []

    def observe(self, picture: EncoderInput, start: Fraction) -> None:
        """A picture that is shown `at` seconds after the segment's beginning."""
        if "preview_strip" in self._outputs and start >= len(self._tiles):
            self._tiles.append(_scale_to_rgb(picture, *self._tile_size))
            self._times.append(round(start * 1000))
        if "keogram" in self._outputs:
            self._columns.append(_middle_column(picture, self._height))

    def finish(self) -> Mapping[str, bytes]:
        """File name -> bytes; nothing for a segment without pictures."""
        found: dict[str, bytes] = {}
        if self._tiles:
            times = ",".join(map(str, self._times)).encode()
            found[ARTIFACT_FILES["preview_strip"]] = _encode_image(
                np.hstack(self._tiles), "JPEG", quality=92, comment=times
            )
        if self._columns:
            found[ARTIFACT_FILES["keogram"]] = _encode_image(np.hstack(self._columns), "PNG", compress_level=6)
        return found


def tile_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a preview tile in pixels."""
    scale = min(MAX_TILE_SIDE / max(width, height), 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def keogram_height(height: int) -> int:
    return min(height, MAX_KEOGRAM_HEIGHT)


def _scale_to_rgb(picture: EncoderInput, width: int, height: int) -> Pixels:
    """(height, width, 3) RGB."""
    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as still:
            return np.asarray(still.convert("RGB").resize((width, height), Image.Resampling.BOX))
    assert isinstance(picture, VideoFrame), "pictures that are looked at do not stay on a GPU"
    pixels = picture.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return pixels.astype(np.uint8, copy=False)


def _middle_column(picture: EncoderInput, height: int) -> Pixels:
    """(height, 1, 3) RGB: the middle column."""
    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as still:
            middle = still.width // 2
            strip = still.convert("RGB").crop((middle, 0, middle + 1, still.height))
            return np.asarray(strip.resize((1, height), Image.Resampling.BOX))
    assert isinstance(picture, VideoFrame), "pictures that are looked at do not stay on a GPU"
    narrow = picture.format.name == "yuv420p" and picture.width > KEOGRAM_STRIP_WIDTH
    frame = _crop_middle(picture) if narrow else picture
    return _scale_to_rgb(frame, frame.width, height)[:, frame.width // 2][:, None]


def _crop_middle(frame: VideoFrame) -> VideoFrame:
    """The NARROW columns in the middle of a yuv420p frame, as a frame: converting all of it would cost its width."""
    left = (frame.width // 2 - KEOGRAM_STRIP_WIDTH // 2) // 2 * 2
    strip = VideoFrame(KEOGRAM_STRIP_WIDTH, frame.height, "yuv420p")
    strip.colorspace, strip.color_range = frame.colorspace, frame.color_range
    for number, (into, plane) in enumerate(zip(planes.plane_views(strip), planes.plane_views(frame), strict=True)):
        begin = left >> (number > 0)
        into[:] = plane[:, begin : begin + into.shape[1]]
    return strip


def _encode_image(pixels: Pixels, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()
