"""Still images made from a render: preview strip (sprite and WebVTT), keogram and poster.

Each segment collects its own part while it is rendered; the parts are joined when the video is assembled.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR, video_colour
from service.pipeline.encode.mux import SKIP_DECODE
from service.pipeline.frame_context import EncoderInput
from service.pipeline.images.decoder import plan_header_conversion
from service.pipeline.images.jpeg import jpeg_header
from service.pipeline.stills.rgb import Pixels, StillConverter
from service.plan.colour import Colour
from service.plan.formats import ARTIFACT_FILES
from service.plan.geometry import square_size
from service.plan.render_plan import RenderOptions

# In pixels.
MAX_TILE_SIDE, MAX_KEOGRAM_HEIGHT = 160, 480
# Luma columns around the middle that are converted to get one column of the keogram: swscale needs a few.
KEOGRAM_STRIP_WIDTH = 16
# Wider images are refused by browsers: neighbouring columns are averaged.
MAX_KEOGRAM_COLUMNS = 16_384
SPRITE_COLUMNS, MAX_TILES = 10, 200


class SegmentArtifacts:
    """One segment's preview tiles (the first frame of each second) and keogram columns (one per frame), on request."""

    def __init__(self, options: RenderOptions, colour: Colour = IMAGE_COLOUR) -> None:
        self._outputs = options.outputs
        self._converter = StillConverter(colour)
        self._tile_size = tile_size(*options.shown_size)
        self._height = keogram_height(options.shown_size[1])
        self._tiles: list[Pixels] = []
        self._times: list[int] = []
        self._columns: list[Pixels] = []

    def observe(self, picture: EncoderInput, start: Fraction) -> None:
        """Take what is needed of an output frame that is shown from `start` seconds into the segment."""
        if "preview_strip" in self._outputs and start >= len(self._tiles):
            self._tiles.append(_scale_to_rgb(picture, *self._tile_size, self._converter))
            self._times.append(round(start * 1000))
        if "keogram" in self._outputs:
            self._columns.append(_middle_column(picture, self._height, self._converter))

    def finish(self) -> Mapping[str, bytes]:
        """File name -> bytes; empty for a segment without frames."""
        files: dict[str, bytes] = {}
        if self._tiles:
            times = ",".join(map(str, self._times)).encode()
            files[ARTIFACT_FILES["preview_strip"]] = encode_image(
                np.hstack(self._tiles), "JPEG", quality=92, comment=times
            )
        if self._columns:
            files[ARTIFACT_FILES["keogram"]] = encode_image(np.hstack(self._columns), "PNG", compress_level=6)
        return files


def tile_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a preview tile in pixels."""
    scale = min(MAX_TILE_SIDE / max(width, height), 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def keogram_height(height: int) -> int:
    """In pixels, of the keogram of frames of this height."""
    return min(height, MAX_KEOGRAM_HEIGHT)


def _scale_to_rgb(picture: EncoderInput, width: int, height: int, converter: StillConverter) -> Pixels:
    """(height, width, 3) of uint8."""
    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as still:
            pixels = np.asarray(still.convert("RGB").resize((width, height), Image.Resampling.BOX))
        return _convert_copied(picture, pixels)
    assert isinstance(picture, VideoFrame), "pictures stay on a GPU only in renders without artifacts"
    return converter.to_rgb(picture, width, height)


def _convert_copied(jpeg: bytes, pixels: Pixels) -> Pixels:
    """RGB pixels of a JPEG that was copied into the video, from its colour profile to sRGB."""
    conversion = plan_header_conversion(jpeg_header(jpeg))
    if conversion.is_gray:
        return np.dstack([conversion.apply(pixels[..., 0])] * 3)
    return conversion.apply(pixels)


def _middle_column(picture: EncoderInput, height: int, converter: StillConverter) -> Pixels:
    """(height, 1, 3) of uint8, RGB."""
    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture)) as still:
            middle = still.width // 2
            strip = still.convert("RGB").crop((middle, 0, middle + 1, still.height))
            column = np.asarray(strip.resize((1, height), Image.Resampling.BOX))
        return _convert_copied(picture, column)
    assert isinstance(picture, VideoFrame), "pictures stay on a GPU only in renders without artifacts"
    narrow = picture.format.name == "yuv420p" and picture.width > KEOGRAM_STRIP_WIDTH
    frame = _crop_middle(picture) if narrow else picture
    return converter.to_rgb(frame, frame.width, height)[:, frame.width // 2][:, None]


def _crop_middle(frame: VideoFrame) -> VideoFrame:
    """The middle KEOGRAM_STRIP_WIDTH columns of a yuv420p frame, so that only those are converted."""
    left = (frame.width // 2 - KEOGRAM_STRIP_WIDTH // 2) // 2 * 2
    strip = VideoFrame(KEOGRAM_STRIP_WIDTH, frame.height, "yuv420p")
    strip.colorspace, strip.color_range = frame.colorspace, frame.color_range
    for number, (into, plane) in enumerate(zip(planes.plane_views(strip), planes.plane_views(frame), strict=True)):
        begin = left >> (number > 0)
        into[:] = plane[:, begin : begin + into.shape[1]]
    return strip


def encode_image(pixels: NDArray[Any], image_format: str, **options: object) -> bytes:
    """(height, width, 3) RGB of uint8 through Pillow; `options` are those of Image.save."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, image_format, **options)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Tile:
    """The tile number `position` of a segment's strip, shown from `start` seconds on."""

    strip: bytes
    position: int
    start: Fraction


class PreviewStrip:
    """Joins the strips of the segments. They stay encoded (a few kilobytes each); only tiles in use are decoded."""

    def __init__(self, tile: tuple[int, int]) -> None:
        self._size = tile
        self._tiles: list[_Tile] = []

    def add(self, strip: bytes, start: Fraction) -> None:
        """The strip of a segment that begins at `start` seconds."""
        with Image.open(io.BytesIO(strip)) as image:
            times = bytes(image.info["comment"]).decode().split(",")
        self._tiles += [_Tile(strip, place, start + Fraction(int(time), 1000)) for place, time in enumerate(times)]

    def finish(self, end: Fraction) -> tuple[bytes, bytes]:
        """(JPEG of at most MAX_TILES tiles, WebVTT that covers the video up to `end` seconds)."""
        used = self._tiles[:: -(-len(self._tiles) // MAX_TILES)]
        return self._sprite(used), self._cues(used, end)

    def _sprite(self, used: list[_Tile]) -> bytes:
        width, height = self._size
        sheet = Image.new("RGB", (width * min(SPRITE_COLUMNS, len(used)), height * -(-len(used) // SPRITE_COLUMNS)))
        for number, tile in enumerate(used):
            with Image.open(io.BytesIO(tile.strip)) as strip:
                cut = strip.crop((tile.position * width, 0, (tile.position + 1) * width, height))
                sheet.paste(cut, self._tile_corner(number))
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=85)
        return out.getvalue()

    def _tile_corner(self, number: int) -> tuple[int, int]:
        return number % SPRITE_COLUMNS * self._size[0], number // SPRITE_COLUMNS * self._size[1]

    def _cues(self, used: list[_Tile], end: Fraction) -> bytes:
        ends = [tile.start for tile in used[1:]] + [end]
        lines = ["WEBVTT"]
        for number, (tile, until) in enumerate(zip(used, ends, strict=True)):
            left, top = self._tile_corner(number)
            area = f"{left},{top},{self._size[0]},{self._size[1]}"
            lines += [
                "",
                f"{_webvtt_time(tile.start)} --> {_webvtt_time(until)}",
                f"{ARTIFACT_FILES['preview_strip']}#xywh={area}",
            ]
        return ("\n".join(lines) + "\n").encode()


def _webvtt_time(seconds: Fraction) -> str:
    """hh:mm:ss.ttt"""
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02d}:{millis // 60_000 % 60:02d}:{millis // 1000 % 60:02d}.{millis % 1000:03d}"


class Keogram:
    """Joins the columns of `frames` frames; memory is bounded by MAX_KEOGRAM_COLUMNS, not by the number of frames."""

    def __init__(self, frames: int, height: int) -> None:
        self._frames, self._width = frames, min(frames, MAX_KEOGRAM_COLUMNS)
        self._sums = np.zeros((self._width, height, 3), np.uint32)
        self._counts = np.zeros(self._width, np.uint32)
        self._next = 0

    def add(self, strip: bytes) -> None:
        """The columns of the next segment."""
        with Image.open(io.BytesIO(strip)) as image:
            columns = np.asarray(image.convert("RGB")).transpose(1, 0, 2)
        places = np.arange(self._next, self._next + len(columns)) * self._width // self._frames
        np.add.at(self._sums, places, columns)
        np.add.at(self._counts, places, 1)
        self._next += len(columns)

    def finish(self) -> bytes:
        """PNG; averages are rounded to the nearest level."""
        counts = np.maximum(self._counts, 1)[:, None, None]
        pixels = ((self._sums + counts // 2) // counts).astype(np.uint8).transpose(1, 0, 2)
        return encode_image(np.ascontiguousarray(pixels), "PNG")


def poster(segment: bytes, max_width: int = 1280) -> bytes:
    """A JPEG of the segment's first frame, at most `max_width` pixels wide, HDR shown as SDR.

    Raises ValueError for an empty segment.
    """
    if not segment:
        raise ValueError("an empty segment has no picture")
    with av.open(io.BytesIO(segment), "r", stream_options=SKIP_DECODE) as source:
        source.streams.video[0].codec_context.thread_count = 1  # dav1d's other threads would decode more frames
        frame = next(source.decode(video=0))
        shown = square_size((frame.width, frame.height), source.streams.video[0].sample_aspect_ratio or Fraction(1))
        width = min(max_width, shown[0])
        height = max(1, round(shown[1] * width / shown[0]))
        pixels = StillConverter(video_colour(frame)).to_rgb(frame, width, height)
    if jpeg := _first_jpeg(segment):
        pixels = _convert_copied(jpeg, pixels)
    return encode_image(pixels, "JPEG", quality=85)


def _first_jpeg(segment: bytes) -> bytes:
    """The first frame as it is stored; empty if the segment is not MJPEG."""
    with av.open(io.BytesIO(segment), "r", stream_options=SKIP_DECODE) as source:
        stream = source.streams.video[0]
        return bytes(next(source.demux(stream))) if stream.codec_context.name == "mjpeg" else b""
