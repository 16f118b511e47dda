"""Opens a source video and chooses its video stream."""

from typing import BinaryIO, NamedTuple

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from service.pipeline.frames import MediaUnreadable
from service.pipeline.videos.diagnosis import describe_boxes, describe_file, describe_streams
from service.pipeline.videos.palettes import PALETTE_FORMAT, SourcePalette, read_palette

# How far into a file the second JPEG is searched.
_MAX_JPEG_BYTES = 16 * 1024 * 1024


class OpenVideo(NamedTuple):
    """An open container, its main video stream, and the palette of a stream that has one."""

    container: InputContainer
    stream: VideoStream
    palette: SourcePalette | None


def open_video(file: BinaryIO, options: dict[str, str] | None = None, *, is_strict: bool = True) -> OpenVideo:
    """Open a source video, to be decoded on one thread and, if `is_strict`, without concealing damage.

    `options` are the demuxer's. Raises MediaUnreadable with the reason; `file` stays open.
    """
    try:
        container, stream = _open(file, options, is_strict=is_strict)
        if stream.codec_context.pix_fmt != PALETTE_FORMAT:
            return OpenVideo(container, stream, None)
        palette = read_palette(container, stream, file)
        container.close()
        return OpenVideo(*_open(file, options, is_strict=is_strict), palette)
    except av.error.MemoryError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise MediaUnreadable(describe_file(file)) from error


def _open(file: BinaryIO, options: dict[str, str] | None, *, is_strict: bool) -> tuple[InputContainer, VideoStream]:
    """Raises av.FFmpegError, ValueError, and MediaUnreadable for a file without a video."""
    file.seek(0)
    container = av.open(file, "r", metadata_errors="replace", options=options)
    if container.format.name == "jpeg_pipe" and _holds_several_jpegs(file):
        container.close()
        file.seek(0)
        container = av.open(file, "r", format="mjpeg", metadata_errors="replace", options=options)
    if container.format.name.endswith("_pipe"):
        container.close()
        raise MediaUnreadable("the source is an image, not a video: put images into a dataset of kind frames")
    stream = _main_stream(container)
    if stream is None:
        reason = describe_boxes(file) or describe_streams(container, file)
        container.close()
        raise MediaUnreadable(reason)
    stream.thread_type = ThreadType.NONE
    stream.thread_count = 1
    if is_strict:
        stream.codec_context.options = {"err_detect": "explode"}
    return container, stream


def _holds_several_jpegs(file: BinaryIO) -> bool:
    """Whether another JPEG follows the first: FFmpeg takes a bare stream of large ones for a single image."""
    file.seek(0)
    return b"\xff\xd9\xff\xd8\xff" in file.read(_MAX_JPEG_BYTES)


def _main_stream(container: InputContainer) -> VideoStream | None:
    """The stream that FFmpeg's command would choose: most pixels, after a bonus for the default track.

    Cover pictures and thumbnails are not videos, nor is a stream whose codec is unknown.
    """
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if stream.codec_context and not stream.disposition & still]
    return max(streams, key=_preference, default=None)


def _preference(stream: VideoStream) -> int:
    """The score of FFmpeg's command (`map_auto_video`)."""
    return stream.width * stream.height + (5_000_000 if stream.disposition & Disposition.default else 0)
