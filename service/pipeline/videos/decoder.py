"""Decodes a source video forward from its current position, without decoding packets that no requested frame needs."""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.packet import PacketSideData
from av.video.frame import PictureType
from av.video.stream import VideoStream

from service.pipeline.videos.palettes import carry_palette

# Limit of the buffered packets; a longer GOP is decoded packet by packet.
MAX_BACKLOG_BYTES = 32 * 1024 * 1024
# A frame of these types is no start, whatever the container says of its packet. H.264 and HEVC may recover at one.
PREDICTED = (PictureType.P, PictureType.B)
RECOVERING_CODECS = ("h264", "hevc", "vvc")


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame and its timestamp: the encoder overwrites the one in `frame`."""

    pts: int
    frame: VideoFrame
    corrupt: bool


def read_packets(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """Packets of the stream, from the container's position. Raises av.FFmpegError.

    Where streams appear within a file, by damage or because another programme begins, PyAV raises IndexError once.
    """
    while True:
        try:
            yield from container.demux(stream)
        except IndexError:
            continue
        return


class ForwardDecoder:
    """Reads a container from its current position. Timestamps are in the stream's time base.

    Buffers packets until it is known whether a key frame at or before the target follows: if so, they are dropped
    without decoding. Of H.264, unreferenced frames before the target are skipped as well. Leading frames of an open GOP
    are dropped if their references were not decoded.

    `position` is the byte offset of the last packet, `packets_decoded` the number of packets that went to the decoder,
    `first_pts` the timestamp of the first decoded frame, `has_failed` whether a packet could not be decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        may_skip: bool = True,
        at_key: bool = False,
        palette: PacketSideData | None = None,
    ) -> None:
        packets: Iterator[Packet[VideoStream]] = read_packets(container, stream)
        self._packets = carry_palette(packets, palette) if palette else packets
        self._context = stream.codec_context
        lacks_timestamps = container.format.name == "avi" and stream.codec_context.name == "h264"
        self._timestamps = _AviTimestamps() if lacks_timestamps else None
        self._may_skip, self._awaits_key = may_skip, at_key
        self._checks_start, self._began_late = stream.codec_context.name not in RECOVERING_CODECS, at_key
        self._skips_unreferenced = may_skip and stream.codec_context.name == "h264" and self._timestamps is None
        self._backlog: list[Packet[VideoStream]] = []
        self._backlog_bytes = 0
        self._ready: deque[DecodedFrame] = deque()
        self._corrupt_until_key, self._corrupt_pts = False, set[int]()
        self._starting, self._start_pts = True, -(2**63)
        self.position = self.packets_decoded = 0
        self.first_pts: int | None = None
        self.has_failed = False

    def decode_until(self, target_pts: int) -> DecodedFrame | None:
        """The first frame at or after `target_pts`, which must not decrease between calls; None at the end of the file.

        Raises av.FFmpegError.
        """
        while True:
            while self._ready:
                frame = self._ready.popleft()
                if frame.pts >= target_pts:
                    return frame
            packet = next(self._packets, None)
            if packet is None:
                return None
            self._accept(packet, target_pts)

    def _accept(self, packet: "Packet[VideoStream]", target_pts: int) -> None:
        """Buffer a packet, and decide what to do with the buffered ones."""
        if packet.pos is not None:
            self.position = packet.pos
        if self._awaits_key and packet.size and not packet.is_keyframe:
            return
        self._awaits_key = False
        is_useful_key = packet.is_keyframe and packet.pts is not None and packet.pts <= target_pts
        if is_useful_key and self._may_skip and self._backlog:
            self._drop_backlog()
        self._backlog.append(packet)
        self._backlog_bytes += packet.size
        if not packet.size or packet.pts is None or packet.pts >= target_pts or self._backlog_bytes > MAX_BACKLOG_BYTES:
            for waiting in self._backlog:
                if waiting.pts is None or waiting.pts >= self._start_pts:
                    self._ready.extend(self._decode(waiting, target_pts))
            self._backlog, self._backlog_bytes = [], 0

    def _drop_backlog(self) -> None:
        """Drop what precedes a key frame, in the backlog and in the decoder."""
        self._backlog, self._backlog_bytes = [], 0
        self._ready.clear()
        self._corrupt_pts.clear()
        if not self._starting:
            self._context.flush_buffers()
        self._starting, self._began_late, self.first_pts = True, True, None
        if self._timestamps:
            self._timestamps.clear()

    def _decode(self, packet: "Packet[VideoStream]", target_pts: int) -> Iterator[DecodedFrame]:
        """Frames after a packet that failed are marked corrupt up to the next key frame."""
        if self._starting and packet.size:
            self._start_pts, self._starting = packet.pts if packet.pts is not None else -(2**63), False
        self._corrupt_until_key = self._corrupt_until_key and not packet.is_keyframe
        for frame in self._decode_packet(packet, target_pts):
            pts = self._timestamps.pts_of(frame) if self._timestamps else frame.pts
            if pts is not None:
                if self.first_pts is None and not self._is_false_start(frame):
                    self.first_pts = pts
                yield DecodedFrame(pts, frame, frame.pts in self._corrupt_pts)

    def _is_false_start(self, frame: VideoFrame) -> bool:
        return self._checks_start and self._began_late and frame.pict_type in PREDICTED

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
            self._corrupt_until_key, self.has_failed, frames = True, True, []
        if self._corrupt_until_key and packet.pts is not None:
            self._corrupt_pts.add(packet.pts)
        return frames


class _AviTimestamps:
    """Timestamps for H.264 in AVI, which stores none: packets have ascending ones, given to frames in display order.

    A key frame is decoded and shown first in its GOP, so it keeps its own, whatever was lost before it.
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
