"""Decodes a source video forward from its current position and skips packets that no requested frame needs."""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

# Packets held back while it is open whether they are needed; a longer group of pictures is decoded as it comes.
MAX_BACKLOG_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded picture with its own timestamp: the frame's is overwritten when it is encoded as it is."""

    pts: int
    frame: VideoFrame
    corrupt: bool


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
        self._timestamps = _AviTimestamps() if _lacks_timestamps(container, stream) else None
        self._may_skip = may_skip
        self._skips_unreferenced = may_skip and stream.codec_context.name == "h264" and self._timestamps is None
        self._backlog: list[Packet[VideoStream]] = []
        self._backlog_bytes = 0
        self._ready: deque[DecodedFrame] = deque()
        self._corrupt_until_key, self._corrupt_pts = False, set[int]()
        self._starting, self._start_pts = True, -(2**63)
        self.position = self.packets_decoded = 0
        self.first_pts: int | None = None

    def decode_until(self, target_pts: int) -> DecodedFrame | None:
        """The first picture at or after `wanted`, which must not fall; None at the end. Raises av.FFmpegError."""
        while True:
            while self._ready:
                shown = self._ready.popleft()
                if shown.pts >= target_pts:
                    return shown
            packet = next(self._packets, None)
            if packet is None:
                return None
            self._accept(packet, target_pts)

    def _accept(self, packet: "Packet[VideoStream]", target_pts: int) -> None:
        if packet.pos is not None:
            self.position = packet.pos
        if (
            packet.is_keyframe
            and packet.pts is not None
            and packet.pts <= target_pts
            and self._may_skip
            and self._backlog
        ):
            self._drop_backlog()
        self._backlog.append(packet)
        self._backlog_bytes += packet.size
        if not packet.size or packet.pts is None or packet.pts >= target_pts or self._backlog_bytes > MAX_BACKLOG_BYTES:
            self._decode_backlog(target_pts)

    def _drop_backlog(self) -> None:
        """Drop what no wanted picture needs, in the backlog and in the decoder."""
        self._backlog, self._backlog_bytes = [], 0
        self._ready.clear()
        self._corrupt_pts.clear()
        if not self._starting:
            self._context.flush_buffers()
        self._starting, self.first_pts = True, None
        if self._timestamps:
            self._timestamps.clear()

    def _decode_backlog(self, target_pts: int) -> None:
        for packet in self._backlog:
            if packet.pts is None or packet.pts >= self._start_pts:
                self._ready.extend(self._decode(packet, target_pts))
        self._backlog, self._backlog_bytes = [], 0

    def _decode(self, packet: "Packet[VideoStream]", target_pts: int) -> Iterator[DecodedFrame]:
        """A packet that fails taints what follows it up to the next key picture."""
        if self._starting and packet.size:
            self._start_pts, self._starting = packet.pts if packet.pts is not None else -(2**63), False
        self._corrupt_until_key = self._corrupt_until_key and not packet.is_keyframe
        for frame in self._decode_packet(packet, target_pts):
            pts = self._timestamps.pts_of(frame) if self._timestamps else frame.pts
            if pts is not None:
                self.first_pts = pts if self.first_pts is None else self.first_pts
                yield DecodedFrame(pts, frame, frame.pts in self._corrupt_pts)

    def _decode_packet(self, packet: "Packet[VideoStream]", target_pts: int) -> list[VideoFrame]:
        if self._skips_unreferenced:
            unwanted = packet.size > 0 and packet.pts is not None and packet.pts < target_pts
            self._context.skip_frame = "NONREF" if unwanted else "DEFAULT"
        if self._timestamps and packet.pts is not None and packet.size and not packet.is_discard:
            self._timestamps.push(packet.pts)
        self.packets_decoded += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self._corrupt_until_key, frames = True, []
        if self._corrupt_until_key and packet.pts is not None:
            self._corrupt_pts.add(packet.pts)
        return frames


class _AviTimestamps:
    """AVI stores no presentation times: its packets carry rising ones, which pictures take in the order they are shown.

    A key picture is the first of its group to be decoded and to be shown: it keeps its own, whatever was lost before.
    """

    def __init__(self) -> None:
        self._pending: list[int] = []

    def push(self, pts: int) -> None:
        heapq.heappush(self._pending, pts)

    def clear(self) -> None:
        self._pending.clear()

    def pts_of(self, frame: VideoFrame) -> int | None:
        while frame.key_frame and frame.pts is not None and self._pending and self._pending[0] < frame.pts:
            heapq.heappop(self._pending)
        return heapq.heappop(self._pending) if self._pending else frame.pts


def _lacks_timestamps(container: InputContainer, stream: VideoStream) -> bool:
    return container.format.name == "avi" and stream.codec_context.name == "h264"
