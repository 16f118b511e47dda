"""Random access to the frames of a source video by presentation timestamp."""

from types import TracebackType
from typing import BinaryIO, Self

import av
from av import VideoFrame
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.frames import MediaUnreadable
from service.pipeline.orientation import orientation_of_display
from service.pipeline.picture import Picture
from service.pipeline.videos.decoder import DecodedFrame, ForwardDecoder

# Bytes to a later key picture from which on they are not read through; ranged reads come in blocks of twice that.
SEEK_THRESHOLD_BYTES = 1024 * 1024

_MIN_PTS = -(2**62)


class VideoSource:
    """One open source video. Asked for rising timestamps it reads forward, past key pictures; otherwise it seeks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self.container, self.stream = _open_video(file)
        except (av.FFmpegError, IndexError) as error:
            file.close()
            raise MediaUnreadable(f"the source is not a video: {error}") from error
        self._decoder: ForwardDecoder | None = None
        self._last_frame: DecodedFrame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._decoder = self._last_frame = None
        self.container.close()
        self._file.close()

    def picture(self, pts: int) -> Picture:
        """The picture shown at `pts` (stream time base). Raises Unreadable when there is none or it is damaged."""
        try:
            shown = self._decode_at(pts)
        except av.FFmpegError as error:
            self._decoder = self._last_frame = None
            raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
        if shown is None or shown.pts != pts:
            raise MediaUnreadable(f"the source video has no picture at timestamp {pts}")
        if shown.corrupt or shown.frame.is_corrupt:
            raise MediaUnreadable(f"the source video is damaged at timestamp {pts}")
        orientation = orientation_of_display(shown.frame.rotation)
        return Picture(shown.frame, f"ffmpeg-{self.stream.codec_context.codec.name}", orientation)

    def first_frame(self) -> VideoFrame:
        """The first picture that can be decoded, for its size and colour tags. Raises Unreadable."""
        try:
            self._seek(self.stream.start_time or 0)
            self._last_frame = self._decoder.decode_until(_MIN_PTS) if self._decoder else None
        except av.FFmpegError as error:
            raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
        if self._last_frame is None:
            raise MediaUnreadable("the source video has no pictures")
        return self._last_frame.frame

    def _decode_at(self, pts: int) -> DecodedFrame | None:
        if self._last_frame is not None and self._last_frame.pts == pts:
            return self._last_frame
        if (
            self._decoder is None
            or (self._last_frame is not None and self._last_frame.pts > pts)
            or self._seek_skips_enough(pts)
        ):
            self._seek(pts)
        assert self._decoder is not None
        self._last_frame = self._decoder.decode_until(pts)
        if not self._started_at_or_before(pts):
            return self._seek_earlier(pts)
        return (
            self._retry_from_earlier_keyframe(pts)
            if self._last_frame is not None and self._last_frame.corrupt
            else self._last_frame
        )

    def _retry_from_earlier_keyframe(self, pts: int) -> DecodedFrame | None:
        """Once more from a key picture earlier: after the one begun with, H.264 may name pictures from before it."""
        begun = self._decoder.first_pts if self._decoder else None
        if begun is not None and begun > (self.stream.start_time or 0):
            self._seek(max(begun - self.ticks_per_second, self.stream.start_time or 0), may_skip=False)
            self._last_frame = self._decoder.decode_until(pts) if self._decoder else None
        return self._last_frame

    def _started_at_or_before(self, pts: int) -> bool:
        """Whether decoding began at or before `pts`, so that what was found is all there is."""
        return self._decoder is not None and self._decoder.first_pts is not None and self._decoder.first_pts <= pts

    def _seek_earlier(self, pts: int) -> DecodedFrame | None:
        """Begin earlier: an open GOP shows pictures before its key, and some streams recover slowly after one."""
        start = self.stream.start_time or 0
        target, step = pts, self.ticks_per_second
        while not self._started_at_or_before(pts) and target > start:
            target, step = max(start, target - step), step * 2
            self._seek(target, may_skip=False)
            self._last_frame = self._decoder.decode_until(pts) if self._decoder else None
        if not self._started_at_or_before(pts):
            self._reopen()
            self._last_frame = self._decoder.decode_until(pts) if self._decoder else None
        return self._last_frame

    def _seek_skips_enough(self, pts: int) -> bool:
        """Whether the index knows a key picture for `pts` that lies far ahead in the file."""
        entries = self.stream.index_entries
        number = entries.search_timestamp(pts, backward=True)
        return (
            number >= 0
            and self._decoder is not None
            and entries[number].pos > self._decoder.position + SEEK_THRESHOLD_BYTES
        )

    def _seek(self, pts: int, *, may_skip: bool = True) -> None:
        self.container.seek(pts, stream=self.stream, backward=True)
        self._decoder = ForwardDecoder(self.container, self.stream, may_skip=may_skip)
        self._last_frame = None

    def _reopen(self) -> None:
        """To the very first packet: without an index, a seek to the start may come down after it."""
        self.container.close()
        self._file.seek(0)
        self.container, self.stream = _open_video(self._file)
        self._decoder = ForwardDecoder(self.container, self.stream, may_skip=False)

    @property
    def ticks_per_second(self) -> int:
        """Ticks of the stream's time base."""
        return max(1, round(1 / self.stream.time_base)) if self.stream.time_base else 1


def _open_video(file: BinaryIO) -> tuple[InputContainer, VideoStream]:
    container = av.open(file, "r", metadata_errors="replace")
    try:
        stream = _video_stream(container)
    except IndexError:
        container.close()
        raise
    stream.thread_type = ThreadType.NONE
    stream.thread_count = 1
    stream.codec_context.options = {"err_detect": "explode"}  # an error, not a painted-over picture
    return container, stream


def _video_stream(container: InputContainer) -> VideoStream:
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise IndexError("its codec is unknown")
    return stream
