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

# Seek instead of reading on when the next key frame is at least this many bytes ahead (ranged reads fetch twice that).
SEEK_THRESHOLD_BYTES = 1024 * 1024

_MIN_PTS = -(2**62)


class VideoSource:
    """One open source video. Ascending timestamps are read forward; others, and distant ones, cause a seek.

    Timestamps are in the stream's time base. Closes `file`.
    """

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
        """The frame at exactly `pts`. Raises MediaUnreadable if there is none or it is damaged."""
        try:
            found = self._decode_at(pts)
        except av.FFmpegError as error:
            self._decoder = self._last_frame = None
            raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
        if found is None or found.pts != pts:
            raise MediaUnreadable(f"the source video has no picture at timestamp {pts}")
        if found.corrupt or found.frame.is_corrupt:
            raise MediaUnreadable(f"the source video is damaged at timestamp {pts}")
        orientation = orientation_of_display(found.frame.rotation)
        return Picture(found.frame, f"ffmpeg-{self.stream.codec_context.codec.name}", orientation)

    def first_frame(self) -> VideoFrame:
        """The first frame that can be decoded, for its size and colour tags. Raises MediaUnreadable."""
        try:
            self._last_frame = self._seek(self.stream.start_time or 0).decode_until(_MIN_PTS)
        except av.FFmpegError as error:
            raise MediaUnreadable(f"the source video is damaged: {error.strerror}") from error
        if self._last_frame is None:
            raise MediaUnreadable("the source video has no pictures")
        return self._last_frame.frame

    def _decode_at(self, pts: int) -> DecodedFrame | None:
        """The first frame at or after `pts`, decoded with all its references if possible."""
        last, decoder = self._last_frame, self._decoder
        if last is not None and last.pts == pts:
            return last
        if decoder is None or last is None or last.pts > pts or self._is_far_ahead(pts, decoder):
            decoder = self._seek(pts)
        self._last_frame = decoder.decode_until(pts)
        if decoder.first_pts is None or decoder.first_pts > pts:
            self._last_frame = self._decode_from_earlier(pts, decoder)
        elif self._last_frame is not None and self._last_frame.corrupt:
            self._last_frame = self._retry_from_earlier_keyframe(pts, decoder.first_pts)
        return self._last_frame

    def _is_far_ahead(self, pts: int, decoder: ForwardDecoder) -> bool:
        """Whether the index has a key frame for `pts` that is far enough ahead in the file to seek to it."""
        entries = self.stream.index_entries
        number = entries.search_timestamp(pts, backward=True)
        return number >= 0 and entries[number].pos > decoder.position + SEEK_THRESHOLD_BYTES

    def _retry_from_earlier_keyframe(self, pts: int, first_pts: int) -> DecodedFrame | None:
        """After a recovery point, H.264 may refer to frames before it: start a second before `first_pts`."""
        start = self.stream.start_time or 0
        if first_pts <= start:
            return self._last_frame
        return self._seek(max(first_pts - self.ticks_per_second, start), may_skip=False).decode_until(pts)

    def _decode_from_earlier(self, pts: int, decoder: ForwardDecoder) -> DecodedFrame | None:
        """Start earlier until decoding begins at or before `pts`, at last at the first packet of the file.

        An open GOP shows frames before its key frame, and some streams recover slowly after one.
        """
        found = self._last_frame
        start, target, step = self.stream.start_time or 0, pts, self.ticks_per_second
        while (decoder.first_pts is None or decoder.first_pts > pts) and target > start:
            target, step = max(start, target - step), step * 2
            decoder = self._seek(target, may_skip=False)
            found = decoder.decode_until(pts)
        if decoder.first_pts is None or decoder.first_pts > pts:
            found = self._reopen().decode_until(pts)
        return found

    def _seek(self, pts: int, *, may_skip: bool = True) -> ForwardDecoder:
        self.container.seek(pts, stream=self.stream, backward=True)
        self._last_frame = None
        self._decoder = ForwardDecoder(self.container, self.stream, may_skip=may_skip)
        return self._decoder

    def _reopen(self) -> ForwardDecoder:
        """Decode from the first packet: without an index, a seek to the start may end up after it."""
        self.container.close()
        self._file.seek(0)
        self.container, self.stream = _open_video(self._file)
        self._decoder = ForwardDecoder(self.container, self.stream, may_skip=False)
        return self._decoder

    @property
    def ticks_per_second(self) -> int:
        """Of the stream's time base, at least 1."""
        return max(1, round(1 / self.stream.time_base)) if self.stream.time_base else 1


def _open_video(file: BinaryIO) -> tuple[InputContainer, VideoStream]:
    """Raises av.FFmpegError, and IndexError if there is no video stream with a known codec."""
    container = av.open(file, "r", metadata_errors="replace")
    try:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise IndexError("its codec is unknown")
    except IndexError:
        container.close()
        raise
    stream.thread_type = ThreadType.NONE
    stream.thread_count = 1
    stream.codec_context.options = {"err_detect": "explode"}  # fail instead of concealing damage
    return container, stream
