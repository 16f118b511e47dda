"""Random access by the packet that holds a picture, for sources whose timestamps do not tell their pictures apart."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

import av
from av import Packet
from av.container import InputContainer
from av.video.stream import VideoStream

from service.pipeline.videos.decoder import MAX_BACKLOG_BYTES, PREDICTED, RECOVERING_CODECS, DecodedFrame

OFFSET_BITS = 20
# A picture comes out of a decoder at most this many packets after its own went in.
MAX_DELAY_PACKETS = 64
# Bytes before a picture at which reading starts; each attempt goes four times further back.
LEAD_BYTES, MAX_ATTEMPTS = 512 * 1024, 5
# Formats in which reading can begin at any byte: those that were made for broadcasts, and bare elementary streams,
# which store no timestamps.
BROADCAST_FORMATS = frozenset(("mpegts", "mpeg"))
BARE_FORMATS = frozenset(
    ("h264", "hevc", "vvc", "mpegvideo", "m4v", "h263", "h261", "mjpeg", "vc1", "dirac", "cavsvideo", "mjpeg_2000")
)
_BYTE_SEEKABLE = BROADCAST_FORMATS | BARE_FORMATS
_SEEK_THRESHOLD = 1024 * 1024 << OFFSET_BITS

Numbering = Literal["offset", "count"]
OpenAtStart = Callable[[], tuple[InputContainer, VideoStream]]


class PacketNumbers:
    """Numbers packets, ascending in decoding order.

    By `offset`: the byte offset of the packet times 2^20; a packet without a later offset than the one before it gets
    the next number. These numbers do not depend on where reading began. By `count`: negative numbers that count from
    the first packet, for files whose offsets fall.
    """

    def __init__(self, numbering: Numbering) -> None:
        self._by_offset = numbering == "offset"
        self._last = -1 if self._by_offset else -(2**62)

    def number(self, packet: "Packet[VideoStream]") -> int:
        at = packet.pos << OFFSET_BITS if self._by_offset and packet.pos is not None else self._last
        self._last = max(self._last + 1, at)
        return self._last


def numbering_of(number: int) -> Numbering:
    return "offset" if number >= 0 else "count"


class PacketDecoder:
    """Decodes forward from the container's position; the `pts` of its frames are the numbers of their packets.

    Unless it begins `at_start`, packets before a key frame and a packet that may be incomplete are dropped. With
    `may_skip`, decoding begins at the last but one key frame before the target, so that the pictures which an open
    group shows before its key frame have their references.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        numbering: Numbering,
        *,
        at_start: bool,
        may_skip: bool = True,
    ) -> None:
        self._packets: Iterator[Packet[VideoStream]] = container.demux(stream)
        self._context, self._numbers = stream.codec_context, PacketNumbers(numbering)
        self._is_byte_seek = not at_start and container.format.name in _BYTE_SEEKABLE
        self._partial_pos: int | None = None
        # A recording of a broadcast may begin within a group of pictures.
        self._started = at_start and not (may_skip and container.format.name in BROADCAST_FORMATS)
        self._may_skip = may_skip
        self._ready: deque[DecodedFrame] = deque()
        self._undelivered: set[int] = set()
        self._first_key: int | None = None
        self._checks_start = stream.codec_context.name not in RECOVERING_CODECS
        self._corrupt_until_key, self._corrupt = False, set[int]()
        self.is_clean, self.has_failed, self.ended = at_start, False, False
        self.fed = -(2**63)

    def decode_to(self, target: int) -> DecodedFrame | None:
        """The picture of packet `target`; None if it does not come. Raises av.FFmpegError."""
        if target not in self._undelivered:
            self._advance(target)
        delay = 0
        while delay <= MAX_DELAY_PACKETS:
            while self._ready:
                frame = self._ready.popleft()
                self._undelivered.discard(frame.pts)
                if frame.pts == target:
                    return frame
            if self.ended or target not in self._undelivered:
                return None
            self._feed(*self._next_packet())
            delay += 1
        return None

    def frames(self) -> Iterator[DecodedFrame]:
        """All pictures, in presentation order. Raises av.FFmpegError."""
        while self._ready or not self.ended:
            while self._ready:
                yield self._ready.popleft()
            if not self.ended:
                packet, number = self._next_packet()
                self._started |= packet is not None and bool(packet.is_keyframe)
                self._feed(packet, number)
                self._undelivered.clear()

    def can_reach(self, target: int) -> bool:
        """Whether the picture lies ahead, and not so far that a seek is better."""
        return target in self._undelivered or self.fed < target <= self.fed + _SEEK_THRESHOLD

    def _next_packet(self) -> "tuple[Packet[VideoStream] | None, int]":
        """(None, 0) at the end of the file."""
        for packet in self._packets:
            if not packet.size:
                continue  # an empty chunk of an AVI, or the demuxer's end mark
            number = self._numbers.number(packet)
            if self._is_byte_seek and self._partial_pos in (None, packet.pos):
                self._partial_pos = packet.pos
                continue
            self._is_byte_seek = False
            return packet, number
        return None, 0

    def _advance(self, target: int) -> None:
        """Decode up to the packet `target`, and leave out what it cannot refer to."""
        while self.fed < target and not self.ended:
            waiting = self._gather(target)
            keys = [at for at, (packet, number) in enumerate(waiting) if packet and packet.is_keyframe]
            keys = [at for at in keys if waiting[at][1] <= target]
            begin = 0
            if not self._started and keys:
                begin = keys[-2] if len(keys) > 1 else keys[0]
                self._started = True
                self._restart(waiting[begin][1])
            elif self._started and self._may_skip and len(keys) > 1:
                begin = keys[-2]
                self._context.flush_buffers()
                self._restart(waiting[begin][1])
            for packet, number in waiting[begin:]:
                self._feed(packet, number)

    def _restart(self, first_key: int) -> None:
        self._ready.clear()
        self._undelivered.clear()
        self._corrupt.clear()
        self._first_key, self.is_clean, self.has_failed = first_key, False, False

    def _gather(self, target: int) -> "list[tuple[Packet[VideoStream] | None, int]]":
        waiting: list[tuple[Packet[VideoStream] | None, int]] = []
        size = 0
        while size <= MAX_BACKLOG_BYTES:
            packet, number = self._next_packet()
            waiting.append((packet, number))
            if packet is None or number >= target:
                break
            size += packet.size
        return waiting

    def _feed(self, packet: "Packet[VideoStream] | None", number: int) -> None:
        """Decode a packet, None at the end of the file. Frames after one that failed are marked corrupt up to the next
        key frame."""
        if packet is None:
            self.ended = True
        else:
            self.fed = number
            packet.pts = packet.dts = number
            self._corrupt_until_key = self._corrupt_until_key and not packet.is_keyframe
        if not self._started:
            return
        try:
            frames = self._context.decode(packet)
        except av.error.InvalidDataError:
            self._corrupt_until_key, self.has_failed, frames = True, True, []
        if packet is not None:
            self._expect(number)
        for frame in frames:
            if frame.pts is not None:
                false_start = self._checks_start and frame.pict_type in PREDICTED
                self.is_clean |= frame.pts == self._first_key and not false_start
                self._ready.append(DecodedFrame(frame.pts, frame, frame.pts in self._corrupt))

    def _expect(self, number: int) -> None:
        """Note that the picture of a packet is to come. Of two fields, only one ever does."""
        if self._corrupt_until_key:
            self._corrupt.add(number)
        self._undelivered.add(number)
        if len(self._undelivered) > 16 * MAX_DELAY_PACKETS:
            self._undelivered = set(sorted(self._undelivered)[-MAX_DELAY_PACKETS:])


class CountedReader:
    """Finds pictures of one source by their packets' numbers. Ascending ones are read forward."""

    def __init__(self, container: InputContainer, stream: VideoStream, open_at_start: OpenAtStart) -> None:
        self._container, self._stream, self._open_at_start = container, stream, open_at_start
        self._decoder: PacketDecoder | None = None
        self._last: DecodedFrame | None = None
        self._keys: tuple[list[int], list[int]] | None = None

    def decode_at(self, number: int) -> DecodedFrame | None:
        """The picture of packet `number`, decoded with all its references if possible; None if there is none.

        A picture that is corrupt from two starting points is returned as such. Raises av.FFmpegError.
        """
        if self._last is not None and self._last.pts == number:
            return self._last
        found, faults = None, 0
        for decoder in self._decoders(number):
            found = decoder.decode_to(number)
            if decoder.is_clean and found is not None and not found.corrupt:
                break
            faults += decoder.is_clean and (found is not None or decoder.has_failed)
            if faults > 1:
                break
        self._last = found
        return found

    def _decoders(self, number: int) -> Iterator[PacketDecoder]:
        """The current one if it can reach the picture, then new ones that begin ever earlier, at last at the start."""
        if self._decoder is not None and self._decoder.can_reach(number):
            yield self._decoder
        numbering = numbering_of(number)
        for attempt in range(MAX_ATTEMPTS if numbering == "offset" else 0):
            if not self._seek(number >> OFFSET_BITS, attempt):
                break
            self._decoder = PacketDecoder(self._container, self._stream, numbering, at_start=False)
            yield self._decoder
        for may_skip in (True, False):
            self._container, self._stream = self._open_at_start()
            self._decoder = PacketDecoder(self._container, self._stream, numbering, at_start=True, may_skip=may_skip)
            yield self._decoder

    def _seek(self, offset: int, attempt: int) -> bool:
        """Seek to a place before `offset`; False if that is best done by reading from the start."""
        try:
            if self._container.format.name in _BYTE_SEEKABLE:
                place: int = offset - LEAD_BYTES * 4**attempt
                if place > 0:
                    self._container.seek(place, unsupported_byte_offset=True)
                return place > 0
            offsets, times = self._key_entries()
            entry: int = bisect_right(offsets, offset) - 2**attempt
            if entry > 0:
                self._container.seek(times[entry], stream=self._stream)
            return entry > 0
        except av.FFmpegError:
            return False

    def _key_entries(self) -> tuple[list[int], list[int]]:
        """(byte offsets, timestamps) of the index entries of key frames; nothing if the offsets fall."""
        if self._keys is None:
            entries = [(entry.pos, entry.timestamp) for entry in self._stream.index_entries if entry.is_keyframe]
            ordered = all(before[0] <= entry[0] for before, entry in pairwise(entries))
            self._keys = ([pos for pos, _ in entries], [time for _, time in entries]) if ordered else ([], [])
        return self._keys
