"""Reads the catalogue's facts about an object: images from their headers, videos by demuxing."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import BinaryIO

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.colour import FULL_RANGE
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images import exif
from service.pipeline.images.decoder import read_header
from service.pipeline.images.header import HeaderIncomplete, ImageFormat, ImageHeader
from service.pipeline.images.jpeg import jpeg_layout
from service.pipeline.images.tiff_directory import TiffDirectory
from service.pipeline.orientation import orientation_of_display, oriented_size, swaps_sides
from service.pipeline.videos.fields import detect_field_order
from service.pipeline.videos.source import VideoSource
from service.plan.formats import PixelFormat, format_after_rotation
from service.plan.render_plan import FieldOrder

_RGB = ("rgb24", "bgr24", "bgr0", "rgb0", "gbrp", "0rgb", "0bgr")
_DEEP_RGB = ("rgb48le", "rgb48be", "gbrp16le")
_CMYK = 4


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`width` x `height` in pixels as shown, after `orientation` (EXIF); `captured_at` may be naive.

    `pixel_format` is a PixelFormat or, for samples that have none, a description; None if it cannot be shown.
    """

    format: ImageFormat
    width: int
    height: int
    bit_depth: int
    captured_at: datetime | None
    orientation: int
    gray: bool = False
    pixel_format: str | None = None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """`width` x `height` in pixels as shown; `pts` are the timestamps of all frames, ascending, in `time_base`."""

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
    field_order: FieldOrder | None = None


def probe_image(head: bytes, size: int) -> ImageFacts:
    """Facts from the first 64 KiB of an object of `size` bytes; nothing is decoded.

    Raises HeaderIncomplete if the header is longer than `head` (pass the whole object then), and MediaUnreadable for
    anything but a JPEG, PNG or WebP. Use `probe_tiff_page` for a TIFF: its directories can be anywhere in the file.
    """
    try:
        header = read_header(head)
    except HeaderIncomplete as error:
        if len(head) < size:
            raise
        raise MediaUnreadable(error.reason) from error
    orientation = exif.orientation(header.exif)
    width, height = oriented_size((header.width, header.height), orientation)
    return ImageFacts(
        format=header.format,
        width=width,
        height=height,
        bit_depth=header.bit_depth,
        captured_at=exif.capture_time(header.exif),
        orientation=orientation,
        gray=header.channels <= 2,
        pixel_format=_image_pixel_format(header, head, orientation),
    )


def probe_tiff_page(directory: TiffDirectory) -> ImageFacts:
    """Facts of one page of a TIFF, from its directory."""
    width, height = oriented_size((directory.width, directory.height), directory.orientation)
    return ImageFacts(
        format="tiff",
        width=width,
        height=height,
        bit_depth=directory.bits_per_sample,
        captured_at=directory.captured_at,
        orientation=directory.orientation,
        gray=directory.samples_per_pixel <= 2,
        pixel_format=_sample_pixel_format(directory.bits_per_sample, directory.samples_per_pixel),
    )


def _image_pixel_format(header: ImageHeader, head: bytes, orientation: int) -> str | None:
    """The pixel format after rotation; None for images that cannot be shown."""
    if header.format == "jpeg" and header.channels == _CMYK:
        return None
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


def _sample_pixel_format(bits: int, channels: int) -> str:
    """Of gray or RGB samples, ignoring alpha; samples of more than 16 bits have no PixelFormat."""
    if bits > 16:
        return f"{bits}-bit samples"
    if channels <= 2:
        return "gray" if bits <= 8 else "gray16le"
    return "bgr0" if bits <= 8 else "gbrp16le"


def probe_video(file: BinaryIO) -> VideoFacts:
    """Facts of a seekable video, from its packets; decoded are the few frames that tell whether it is interlaced.

    Raises MediaUnreadable.
    """
    with VideoSource(file) as source:
        stream = source.stream
        pts, key_pts = _timestamps(source.container, stream)
        first = source.first_frame()
        width, height = oriented_size((first.width, first.height), orientation_of_display(first.rotation))
        return VideoFacts(
            codec=stream.codec_context.codec.canonical_name,
            width=width,
            height=height,
            time_base=stream.time_base or Fraction(1),
            average_rate=stream.average_rate,
            duration_seconds=_duration(stream, pts),
            pts=tuple(pts),
            key_pts=tuple(key_pts),
            captured_at=_creation_time(source.container, stream),
            pixel_format=_video_pixel_format(first),
            field_order=detect_field_order(source, pts, key_pts),
        )


def _timestamps(container: InputContainer, stream: VideoStream) -> tuple[list[int], list[int]]:
    """(timestamps of all frames, of key frames), both ascending."""
    frames, keys = [], []
    try:
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None and not packet.is_discard:
                frames.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
    except av.FFmpegError as error:
        raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
    if not frames:
        raise MediaUnreadable("the source video has no pictures")
    return sorted(set(frames)), sorted(keys)


def _duration(stream: VideoStream, pts: list[int]) -> Fraction:
    """In seconds, from the start of the first frame to the end of the last, which is given the mean frame duration."""
    base = stream.time_base or Fraction(1)
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
    full_range = frame.color_range == FULL_RANGE or "j" in name
    if name.startswith("gray"):
        return name if full_range else f"{name} of limited range"
    if full_range and name in ("yuv420p", "yuv422p", "yuv444p"):
        return name.replace("yuv", "yuvj")
    return f"{name} of full range" if full_range and "j" not in name else name
