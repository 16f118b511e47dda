"""Reads the catalogue's facts about an object: images from their headers, videos by demuxing."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import BinaryIO

from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.colour import FULL_RANGE, video_colour, video_range
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images import exif
from service.pipeline.images.decoder import read_header, require_supported
from service.pipeline.images.header import HeaderIncomplete, ImageFormat, ImageHeader, require_plausible
from service.pipeline.images.jpeg import jpeg_layout
from service.pipeline.images.tiff_directory import PALETTE, TiffDirectory, require_supported_colours, tiff_channels
from service.pipeline.orientation import oriented_size, swaps_sides
from service.pipeline.videos.display import display_orientation
from service.pipeline.videos.fields import detect_field_order
from service.pipeline.videos.pictures import PictureList, list_pictures
from service.pipeline.videos.source import VideoSource
from service.plan.colour import Colour
from service.plan.formats import PixelFormat, format_after_rotation
from service.plan.geometry import square_size
from service.plan.render_plan import FieldOrder

_RGB = ("rgb24", "bgr24", "bgr0", "rgb0", "gbrp", "0rgb", "0bgr", "pal8")
_DEEP_RGB = ("rgb48le", "rgb48be", "gbrp16le")
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
# Of a source video whose first frame is decoded; renders have a limit of their own.
MAX_PROBED_PIXELS = 2**28


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`width` x `height` in pixels as shown, after `orientation` (EXIF); `captured_at` may be naive.

    `pixel_format` is a PixelFormat or, for samples that have none, a description; None for a TIFF that cannot be shown.
    If `has_exif` is false, there may be EXIF in what was not read.
    """

    format: ImageFormat
    width: int
    height: int
    bit_depth: int
    captured_at: datetime | None
    orientation: int
    gray: bool = False
    pixel_format: str | None = None
    has_exif: bool = False


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """`width` x `height` in square pixels as shown; `pts` are the timestamps of all frames, ascending, in `time_base`.

    Where timestamps do not tell the frames apart, `pts` counts them from 0, and `packets` says which packet of the file
    holds each: see `counted.PacketNumbers`. `stored_size` is (width, height) upright in stored pixels, and
    `pixel_aspect` the width to the height of one. `problem` says that a part of the file is missing.

    `colour` and `full_range` are those of the first frame, with what players assume in place of missing tags.
    """

    codec: str
    width: int
    height: int
    time_base: Fraction
    average_rate: Fraction | None
    duration_seconds: Fraction
    pts: tuple[int, ...]
    key_pts: tuple[int, ...]
    captured_at: datetime | None
    pixel_format: str
    colour: Colour
    full_range: bool
    stored_size: tuple[int, int]
    packets: tuple[int, ...] | None = None
    pixel_aspect: Fraction = Fraction(1)
    problem: str | None = None
    field_order: FieldOrder | None = None


def probe_image(head: bytes, size: int, late_exif: bytes = b"") -> ImageFacts:
    """Facts from the beginning of an object of `size` bytes; nothing is decoded.

    `late_exif` is the EXIF that was found behind `head`. Raises HeaderIncomplete if the header is longer than `head`
    (pass more then), and MediaUnreadable for anything but a JPEG, PNG or WebP, and for kinds of these that cannot be
    shown. Use `probe_tiff_page` for a TIFF: its
    directories can be anywhere in the file.
    """
    try:
        header = read_header(head)
    except HeaderIncomplete as error:
        if len(head) < size:
            raise
        raise MediaUnreadable(error.reason) from error
    require_supported(header)
    require_plausible(header.width, header.height, header.bit_depth)
    metadata = header.exif or late_exif
    orientation = exif.orientation(metadata)
    width, height = oriented_size((header.width, header.height), orientation)
    return ImageFacts(
        format=header.format,
        width=width,
        height=height,
        bit_depth=header.bit_depth,
        captured_at=exif.capture_time(metadata),
        orientation=orientation,
        gray=header.channels <= 2,
        pixel_format=_image_pixel_format(header, head, orientation),
        has_exif=bool(metadata),
    )


def probe_tiff_page(directory: TiffDirectory) -> ImageFacts:
    """Facts of one page of a TIFF, from its directory. Raises MediaUnreadable for colours that cannot be shown."""
    require_supported_colours(directory.photometric)
    require_plausible(directory.width, directory.height, directory.bits_per_sample)
    width, height = oriented_size((directory.width, directory.height), directory.orientation)
    channels = tiff_channels(directory)
    return ImageFacts(
        format="tiff",
        width=width,
        height=height,
        bit_depth=8 if directory.photometric == PALETTE else directory.bits_per_sample,
        captured_at=directory.captured_at,
        orientation=directory.orientation,
        gray=channels in (1, 2),
        pixel_format=_tiff_pixel_format(directory, channels),
    )


def _image_pixel_format(header: ImageHeader, head: bytes, orientation: int) -> str:
    """The pixel format after rotation."""
    pixel_format: PixelFormat
    if header.format == "jpeg":
        pixel_format = jpeg_layout(head).pixel_format
    elif header.format == "webp" and header.plain:
        pixel_format = "yuv420p"
    else:
        return _sample_pixel_format(header.bit_depth, header.channels)
    if orientation == 1:
        return pixel_format
    return format_after_rotation(pixel_format, (header.width, header.height), quarter=swaps_sides(orientation))


def _tiff_pixel_format(directory: TiffDirectory, channels: int) -> str | None:
    """What `decode_tiff` makes of the page; None for a page that it refuses."""
    if not channels:
        return None
    bits = 8 if directory.photometric == PALETTE else directory.bits_per_sample
    return _sample_pixel_format(bits, channels, directory.sample_format)


def _sample_pixel_format(bits: int, channels: int, sample_format: int = _UNSIGNED) -> str:
    """Of gray (1), gray with alpha (2) or RGB samples (3, 4), whose alpha is gone once the background shows.

    Samples that have no PixelFormat are described. `sample_format` has the numbers of TIFF.
    """
    if bits > 16 or sample_format in (_SIGNED, _FLOAT):
        kind = {_SIGNED: " signed", _FLOAT: " float"}.get(sample_format, "") if bits <= 16 else ""
        return f"{bits}-bit{kind}{' RGB' if channels > 2 else ''} samples{' with alpha' if channels == 2 else ''}"
    if channels > 2:
        return "bgr0" if bits <= 8 else "gbrp16le"
    if channels == 2:
        return "ya8" if bits <= 8 else "ya16le"
    return "gray" if bits <= 8 else "gray16le"


def probe_video(file: BinaryIO) -> VideoFacts:
    """Facts of a seekable video, from its packets; see `list_pictures` and `detect_field_order` for what is decoded.

    Raises MediaUnreadable.
    """
    with VideoSource(file) as source:
        source.require_limits(MAX_PROBED_PIXELS)
        pictures = list_pictures(source)
        first, stream = source.first_frame(), source.stream
        pixel_aspect, orientation = source.pixel_aspect or Fraction(1), display_orientation(first)
        stored = (first.width, first.height)
        width, height = oriented_size(square_size(stored, pixel_aspect), orientation)
        return VideoFacts(
            codec=stream.codec_context.codec.canonical_name,
            width=width,
            height=height,
            time_base=stream.time_base or Fraction(1),
            average_rate=stream.average_rate,
            duration_seconds=_duration(stream, pictures),
            pts=tuple(pictures.pts),
            key_pts=tuple(pictures.key_pts),
            captured_at=_creation_time(source.container, stream),
            pixel_format=_video_pixel_format(first),
            packets=tuple(pictures.packets) if pictures.packets is not None else None,
            stored_size=oriented_size(stored, orientation),
            pixel_aspect=1 / pixel_aspect if swaps_sides(orientation) else pixel_aspect,
            problem=source.describe_loss(),
            colour=video_colour(first),
            full_range=video_range(first) == FULL_RANGE,
            field_order=detect_field_order(source, pictures),
        )


def _duration(stream: VideoStream, pictures: PictureList) -> Fraction:
    """In seconds, from the start of the first frame to the end of the last, which is given the mean frame duration."""
    base, pts = stream.time_base or Fraction(1), pictures.pts
    if pictures.packets is not None:
        return len(pts) / stream.average_rate if stream.average_rate else Fraction(0)
    span = pts[-1] - pts[0]
    if len(pts) > 1:
        return span * base * len(pts) / (len(pts) - 1)
    return 1 / stream.average_rate if stream.average_rate else (stream.duration or 0) * base


def _creation_time(container: InputContainer, stream: VideoStream) -> datetime | None:
    text = stream.metadata.get("creation_time") or container.metadata.get("creation_time")
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _video_pixel_format(frame: VideoFrame) -> str:
    """A PixelFormat, or a description of a format that has no equal among them."""
    name = frame.format.name
    if name in _RGB:
        return "bgr0"
    if name in _DEEP_RGB:
        return "gbrp16le"
    full_range = video_range(frame) == FULL_RANGE
    if name.startswith("gray"):
        return name if full_range else f"{name} of limited range"
    if full_range and name in ("yuv420p", "yuv422p", "yuv444p"):
        return name.replace("yuv", "yuvj")
    return f"{name} of full range" if full_range and "j" not in name else name
