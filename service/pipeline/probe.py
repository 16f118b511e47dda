"""What the catalogue wants to know about an object before any render: images from their head, videos by demuxing."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import BinaryIO

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline import exif
from service.pipeline.frames import MediaUnreadable
from service.pipeline.image_header import (
    HeaderIncomplete,
    ImageFormat,
    ImageHeader,
    detect_format,
    jpeg_header,
    png_header,
)
from service.pipeline.picture import Picture
from service.pipeline.picture_form import image_pixel_format, sample_pixel_format, video_pixel_format
from service.pipeline.tiff_directory import TiffDirectory
from service.pipeline.video_source import ORIENTATION_BY_DISPLAY_ROTATION, VideoSource
from service.pipeline.webp import webp_header


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
