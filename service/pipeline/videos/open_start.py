"""Decodes the first group of an H.264 file that begins with an open group, as a recording or a cut does."""

from collections.abc import Callable, Iterator
from itertools import islice

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.native_libraries import reported_errors
from service.pipeline.videos.decoder import read_packets

# All that FFmpeg says of such a group: the stream drops a reference picture that lies before its beginning.
_TOLERATED = "mmco: unref short failure"
MAX_PACKETS = 1000


class OpenStart:
    """Finds pictures of the first group, by timestamp or packet number as `name_packet` gives it.

    FFmpeg can treat all errors alike only, so a strict decoder refuses this group. This one lets errors pass, and stops
    at the first one in FFmpeg's log that is not the harmless one.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name_packet: "Callable[[Packet[VideoStream]], int | None]",
    ) -> None:
        self._container, self._stream, self._name_packet = container, stream, name_packet
        self.is_open = False
        self._frames = self._first_group()
        self._last: VideoFrame | None = None

    def find(self, name: int) -> VideoFrame | None:
        """The picture, if it is not before the one found last; None if it is, or if it may be damaged."""
        if self._last is None or self._last.pts != name:
            try:
                self._last = next((frame for frame in self._frames if frame.pts == name), None)
            except av.FFmpegError:
                self._last = None
        return self._last

    def _first_group(self) -> Iterator[VideoFrame]:
        """Frames named by `pts`. Nothing before the harmless error: until then, a strict decoder does as well."""
        keys: list[int | None] = []
        for packet in islice(read_packets(self._container, self._stream), MAX_PACKETS):
            name = self._name_packet(packet) if packet.size else None
            if packet.is_keyframe:
                keys.append(name)
            if not keys:
                continue
            for frame in self._decode(packet, name):
                if frame.pts in keys[1:]:
                    return
                yield frame

    def _decode(self, packet: "Packet[VideoStream]", name: int | None) -> list[VideoFrame]:
        """Raises InvalidDataError at an error that is not harmless."""
        if packet.size:
            packet.pts = packet.dts = name
        with reported_errors() as errors:
            frames = self._stream.codec_context.decode(packet if packet.size else None)
        if any(_TOLERATED not in error for error in errors):
            raise av.error.InvalidDataError(0, "damaged")
        self.is_open |= bool(errors)
        return frames if self.is_open else []
