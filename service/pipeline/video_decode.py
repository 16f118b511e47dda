"""Pictures of a source video from one point on, in order of presentation, decoding only what a wanted one needs."""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

BACKLOG_BYTES = 32 * 1024 * 1024
"""Packets held back while it is open whether they are needed; a longer group of pictures is decoded as it comes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded picture with its own timestamp: the frame's is overwritten when it is encoded as it is."""

    pts: int
    frame: VideoFrame
    damaged: bool


class ForwardDecoder:
    """Reads a container from where it stands. Times are in the stream's time base.

    Packets are held back until it is known whether a key picture at or before the wanted time follows them: then they
    are dropped unread. Of H.264, pictures before the wanted one that no other refers to are skipped, too. What an open
    GOP shows before its key picture is left out when its references were not decoded. `position` is the byte that the
    last packet read begins at, `decoded` how many packets went to the decoder, `first` when its first picture is shown.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, may_skip: bool = True) -> None:
        self._packets: Iterator[Packet[VideoStream]] = container.demux(stream)
        self._context = stream.codec_context
        self._clock = _Reordered() if _unordered(container, stream) else None
        self._may_skip = may_skip
        self._skips_unreferenced = may_skip and stream.codec_context.name == "h264" and self._clock is None
        self._backlog: list[Packet[VideoStream]] = []
        self._held = 0
        self._ready: deque[Shown] = deque()
        self._tainted, self._damaged = False, set[int]()
        self._starting, self._begin = True, -(2**63)
        self.position = self.decoded = 0
        self.first: int | None = None

    def upto(self, wanted: int) -> Shown | None:
        """The first picture at or after `wanted`, which must not fall; None at the end. Raises av.FFmpegError."""
        while True:
            while self._ready:
                shown = self._ready.popleft()
                if shown.pts >= wanted:
                    return shown
            packet = next(self._packets, None)
            if packet is None:
                return None
            self._take(packet, wanted)

    def _take(self, packet: "Packet[VideoStream]", wanted: int) -> None:
        if packet.pos is not None:
            self.position = packet.pos
        if packet.is_keyframe and packet.pts is not None and packet.pts <= wanted and self._may_skip and self._backlog:
            self._restart()
        self._backlog.append(packet)
        self._held += packet.size
        if not packet.size or packet.pts is None or packet.pts >= wanted or self._held > BACKLOG_BYTES:
            self._decode_backlog(wanted)

    def _restart(self) -> None:
        """Drop what no wanted picture needs, in the backlog and in the decoder."""
        self._backlog, self._held = [], 0
        self._ready.clear()
        self._damaged.clear()
        if not self._starting:
            self._context.flush_buffers()
        self._starting, self.first = True, None
        if self._clock:
            self._clock.clear()

    def _decode_backlog(self, wanted: int) -> None:
        for packet in self._backlog:
            if packet.pts is None or packet.pts >= self._begin:
                self._ready.extend(self._decode(packet, wanted))
        self._backlog, self._held = [], 0

    def _decode(self, packet: "Packet[VideoStream]", wanted: int) -> Iterator[Shown]:
        """A packet that fails taints what follows it up to the next key picture."""
        if self._starting and packet.size:
            self._begin, self._starting = packet.pts if packet.pts is not None else -(2**63), False
        self._tainted = self._tainted and not packet.is_keyframe
        for frame in self._frames(packet, wanted):
            pts = self._clock.time(frame) if self._clock else frame.pts
            if pts is not None:
                self.first = pts if self.first is None else self.first
                yield Shown(pts, frame, frame.pts in self._damaged)

    def _frames(self, packet: "Packet[VideoStream]", wanted: int) -> list[VideoFrame]:
        if self._skips_unreferenced:
            unwanted = packet.size > 0 and packet.pts is not None and packet.pts < wanted
            self._context.skip_frame = "NONREF" if unwanted else "DEFAULT"
        if self._clock and packet.pts is not None and packet.size and not packet.is_discard:
            self._clock.expect(packet.pts)
        self.decoded += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self._tainted, frames = True, []
        if self._tainted and packet.pts is not None:
            self._damaged.add(packet.pts)
        return frames


class _Reordered:
    """AVI stores no presentation times: its packets carry rising ones, which pictures take in the order they are shown.

    A key picture is the first of its group to be decoded and to be shown: it keeps its own, whatever was lost before.
    """

    def __init__(self) -> None:
        self._waiting: list[int] = []

    def expect(self, pts: int) -> None:
        heapq.heappush(self._waiting, pts)

    def clear(self) -> None:
        self._waiting.clear()

    def time(self, frame: VideoFrame) -> int | None:
        while frame.key_frame and frame.pts is not None and self._waiting and self._waiting[0] < frame.pts:
            heapq.heappop(self._waiting)
        return heapq.heappop(self._waiting) if self._waiting else frame.pts


def _unordered(container: InputContainer, stream: VideoStream) -> bool:
    return container.format.name == "avi" and stream.codec_context.name == "h264"
