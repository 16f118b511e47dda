"""Pictures of a source video by presentation timestamp: seek to a key picture, decode forward, pick."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

import av
from av import VideoFrame
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.frames import Unreadable
from service.pipeline.picture import Picture

ORIENTATION_OF_ROTATION = {90: 8, -90: 6, 180: 3, -180: 3, 270: 6, -270: 8}
"""Display-matrix rotation (degrees counter-clockwise) -> the EXIF orientation that undoes it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded picture with its own timestamp: the frame's is overwritten when it is encoded as it is."""

    pts: int
    frame: VideoFrame
    damaged: bool


class VideoSource:
    """One open source video. Asked for rising timestamps it reads forward; otherwise it seeks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self.container: InputContainer = av.open(file, "r", metadata_errors="replace")
            self.stream = _known_stream(self.container)
        except (av.FFmpegError, IndexError) as error:
            file.close()
            raise Unreadable(f"the source is not a video: {error}") from error
        self.stream.thread_type = ThreadType.NONE
        self.stream.thread_count = 1
        self.stream.codec_context.options = {"err_detect": "explode"}  # an error, not a painted-over picture
        self._pictures: Iterator[Shown] | None = None
        self._last: Shown | None = None
        self._key = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._pictures = self._last = None
        self.container.close()
        self._file.close()

    def picture(self, pts: int) -> Picture:
        """The picture shown at `pts` (stream time base). Raises Unreadable when there is none or it is damaged."""
        try:
            shown = self._at(pts)
        except av.FFmpegError as error:
            self._pictures = self._last = None
            raise Unreadable(f"the source video is damaged: {error.strerror}") from error
        if shown.pts != pts:
            raise Unreadable(f"the source video has no picture at timestamp {pts}")
        if shown.damaged or shown.frame.is_corrupt:
            raise Unreadable(f"the source video is damaged at timestamp {pts}")
        orientation = ORIENTATION_OF_ROTATION.get(shown.frame.rotation, 1)
        return Picture(shown.frame, f"ffmpeg-{self.stream.codec_context.codec.name}", orientation)

    def first(self) -> VideoFrame:
        """The first picture that can be decoded, for its size and colour tags. Raises Unreadable."""
        try:
            self._seek(self.stream.start_time or 0)
            self._last = next(self._forward(), None)
        except av.FFmpegError as error:
            raise Unreadable(f"the source video is damaged: {error.strerror}") from error
        if self._last is None:
            raise Unreadable("the source video has no pictures")
        return self._last.frame

    def _at(self, pts: int) -> Shown:
        if self._last is not None and self._last.pts == pts:
            return self._last
        key = self._key_before(pts)
        if self._last is None or self._last.pts > pts or key > self._key:
            self._seek_before(pts)
            self._key = key
        while self._last is not None and self._last.pts < pts:
            self._last = next(self._forward(), None)
        if self._last is None:
            raise Unreadable(f"the source video has no picture at timestamp {pts}")
        return self._last

    def _key_before(self, pts: int) -> int:
        """Position in the container's index of the key picture to start from; -1 where there is no index."""
        return self.stream.index_entries.search_timestamp(pts, backward=True)

    def _seek_before(self, pts: int) -> None:
        """Seek so that the first picture out is at or before `pts`: an open GOP may lose its leading pictures."""
        start = self.stream.start_time or 0
        target, step = pts, self._second()
        while True:
            self._seek(target)
            self._last = next(self._forward(), None)
            if (self._last is not None and self._last.pts <= pts) or target <= start:
                return
            target, step = max(start, target - step), step * 2

    def _seek(self, pts: int) -> None:
        self.container.seek(pts, stream=self.stream, backward=True)
        self._pictures = None

    def _second(self) -> int:
        return max(1, round(1 / self.stream.time_base)) if self.stream.time_base else 1

    def _forward(self) -> Iterator[Shown]:
        if self._pictures is None:
            self._pictures = _decoded(self.container, self.stream)
        return self._pictures


def _known_stream(container: InputContainer) -> VideoStream:
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise IndexError("its codec is unknown")
    return stream


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[Shown]:
    """Pictures from here on in presentation order. A packet that fails taints what follows it up to the next key."""
    tainted, damaged = False, set[int]()
    for packet in container.demux(stream):
        tainted = tainted and not packet.is_keyframe
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            tainted, frames = True, []
        if tainted and packet.pts is not None:
            damaged.add(packet.pts)
        for frame in frames:
            if frame.pts is not None:
                yield Shown(frame.pts, frame, frame.pts in damaged)
