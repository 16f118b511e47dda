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
from service.pipeline.images.header import HeaderIncomplete, ImageFormat, ImageHeader, detect_format
from service.pipeline.images.jpeg import jpeg_header, jpeg_layout
from service.pipeline.images.png import png_header
from service.pipeline.images.tiff_directory import TiffDirectory
from service.pipeline.images.webp import webp_header
from service.pipeline.picture import Picture
from service.pipeline.videos.source import ORIENTATION_BY_DISPLAY_ROTATION, VideoSource
from service.plan.formats import PixelFormat, format_after_rotation

_RGB = ("rgb24", "bgr24", "bgr0", "rgb0", "gbrp", "0rgb", "0bgr")
_DEEP_RGB = ("rgb48le", "rgb48be", "gbrp16le")
_CMYK = 4


def image_pixel_format(header: ImageHeader, head: bytes, orientation: int) -> str | None:
    """None for what cannot be shown. `turn` is the EXIF orientation: chroma that cannot be turned is made full."""
    if header.format == "jpeg":
        return (
            None
            if header.channels == _CMYK
            else _format_after_rotation(jpeg_layout(head).pixel_format, header, orientation)
        )
    if header.format == "webp" and header.plain:
        return _format_after_rotation("yuv420p", header, orientation)
    return sample_pixel_format(header.bit_depth, header.channels)


def sample_pixel_format(bits: int, channels: int) -> str:
    """Of gray or RGB samples, an alpha channel not counted; deeper than 16 bits there is no PixelForm for them."""
    if bits > 16:
        return f"{bits}-bit samples"
    if channels <= 2:
        return "gray" if bits <= 8 else "gray16le"
    return "bgr0" if bits <= 8 else "gbrp16le"


def _format_after_rotation(pixel_format: PixelFormat, header: ImageHeader, orientation: int) -> str:
    return (
        format_after_rotation(pixel_format, (header.width, header.height), quarter=orientation >= 5)
        if orientation > 1
        else pixel_format
    )


def video_pixel_format(frame: VideoFrame) -> str:
    """A PixelForm, or a text that is none for formats that have no equal there."""
    name = frame.format.name
    if name in _RGB:
        return "bgr0"
    if name in _DEEP_RGB:
        return "gbrp16le"
    full = frame.color_range == FULL_RANGE or "j" in name
    if name.startswith("gray"):
        return name if full else f"{name} of limited range"
    if full and name in ("yuv420p", "yuv422p", "yuv444p"):
        return name.replace("yuv", "yuvj")
    return f"{name} of full range" if full and "j" not in name else name


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`width` x `height` as shown, after `orientation` (EXIF, 1 to 8); `captured_at` is naive without an offset."""

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
    """`width` x `height` as shown; `pts` are the presentation timestamps of all pictures, rising, in `time_base`."""

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


def probe_image(head: bytes, size: int) -> ImageFacts:
    """Facts from the first 64 KiB of an object of `size` bytes; no pixel is decoded.

    Raises NeedMore when the header goes on past `head` (pass the whole object then), Unreadable for anything that is
    no JPEG, PNG or WebP. For a TIFF, whose directories lie anywhere, use `page_facts`.
    """
    header = _read_header(head, size)
    turn = exif.orientation(header.exif)
    shown = _oriented_size(header.width, header.height, turn)
    taken = exif.capture_time(header.exif)
    form = image_pixel_format(header, head, turn)
    return ImageFacts(
        header.format, *shown, header.bit_depth, taken, turn, gray=header.channels <= 2, pixel_format=form
    )


def probe_tiff_page(directory: TiffDirectory) -> ImageFacts:
    """Of one page of a TIFF, from its directory."""
    shown = _oriented_size(directory.width, directory.height, directory.orientation)
    form = sample_pixel_format(directory.bits_per_sample, directory.samples_per_pixel)
    return ImageFacts(
        "tiff",
        *shown,
        directory.bits_per_sample,
        directory.captured_at,
        directory.orientation,
        gray=directory.samples_per_pixel <= 2,
        pixel_format=form,
    )


def _oriented_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if orientation >= 5 else (width, height)


def _read_header(head: bytes, size: int) -> ImageHeader:
    read = {"jpeg": jpeg_header, "png": png_header, "webp": webp_header}.get(detect_format(head))
    if read is None:
        raise MediaUnreadable("a TIFF is probed by its directories")
    try:
        return read(head)
    except HeaderIncomplete as error:
        if len(head) < size:
            raise
        raise MediaUnreadable(error.reason) from error


def probe_video(file: BinaryIO) -> VideoFacts:
    """Facts of a seekable video; timestamps come from packets, only the first picture is decoded. Raises Unreadable."""
    with VideoSource(file) as source:
        stream = source.stream
        pts, key_pts = _timestamps(source.container, stream)
        first = source.first_frame()
        width, height = _display_size(first)
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
            pixel_format=video_pixel_format(first),
        )


def _timestamps(container: InputContainer, stream: VideoStream) -> tuple[list[int], list[int]]:
    shown, keys = [], []
    try:
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None and not packet.is_discard:
                shown.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
    except av.FFmpegError as error:
        raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
    if not shown:
        raise MediaUnreadable("the source video has no pictures")
    return sorted(set(shown)), sorted(keys)


def _display_size(frame: VideoFrame) -> tuple[int, int]:
    return Picture(frame, "", ORIENTATION_BY_DISPLAY_ROTATION.get(frame.rotation, 1)).size


def _duration(stream: VideoStream, pts: list[int]) -> Fraction:
    """From the first picture's start to the last one's end, taking the mean spacing for the last."""
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
