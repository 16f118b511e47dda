"""Demuxes an open source video with PyAV into Annex B packets for a hardware decoder, starting at a key frame.

PyNvVideoCodec's own demuxer is not used: this one does ranged reads, seeks like the CPU path and knows the timestamp of
every packet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from av import Packet
from av.bitstream import BitStreamFilterContext

from service.pipeline.colour import FULL_RANGE, ColourTags, swscale_matrix, video_colour, video_range
from service.pipeline.cuda.driver import VIDEO_CODECS, CudaDriver, DeviceImage, VideoCodec
from service.pipeline.cuda.errors import CudaUnsupported
from service.pipeline.light.conversion import describe
from service.pipeline.videos.decoder import MAX_BACKLOG_BYTES, read_packets
from service.pipeline.videos.display import display_orientation
from service.pipeline.videos.source import VideoSource

_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
# NAL unit types at which a decoder can start: IDR of H.264, IRAP of HEVC. After other key frames of H.264 the picture
# recovers only gradually.
_IDR, _IRAP = 5, range(16, 22)


@dataclass(frozen=True, slots=True)
class VideoProperties:
    """Read from the first frame: (width, height) as coded, in pixels, EXIF orientation, range and codec."""

    size: tuple[int, int]
    orientation: int
    full_range: bool
    codec: VideoCodec


class VideoDemuxer:
    """Raises CudaUnsupported for a video that the device cannot decode or would show wrongly, MediaUnreadable for a
    file that is no video."""

    def __init__(self, file: BinaryIO, colour: ColourTags) -> None:
        self._source = VideoSource(file)
        try:
            self.properties = _read_properties(self._source, colour)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._source.close()

    def decode(self, driver: CudaDriver, next_pts: Callable[[], int]) -> Iterator[tuple[int, DeviceImage]]:
        """Decode from a key frame at or before the first selected frame: (pts, image) in presentation order.

        `next_pts` returns the timestamp of the next selected frame; groups of pictures before it are not decoded.
        """
        session = driver.open_decoder(self.properties.codec)
        try:
            for pts, data in self._required_packets(next_pts):
                yield from session.decode(data, pts)
            yield from session.finish()
        finally:
            session.close()

    def _required_packets(self, next_pts: Callable[[], int]) -> Iterator[tuple[int, bytes]]:
        """Holds packets back until no random access point at or before the selected time can follow them."""
        backlog: list[tuple[int, bytes]] = []
        backlog_bytes = 0
        for pts, data, is_access_point in self._annex_b_packets(next_pts()):
            if is_access_point and pts <= next_pts():
                backlog, backlog_bytes = [], 0
            backlog.append((pts, data))
            backlog_bytes += len(data)
            if pts >= next_pts() or backlog_bytes > MAX_BACKLOG_BYTES:
                yield from backlog
                backlog, backlog_bytes = [], 0
        yield from backlog

    def _annex_b_packets(self, first_pts: int) -> Iterator[tuple[int, bytes, bool]]:
        """(pts, bytes, whether it is a random access point) of each packet."""
        codec, bitstream_filter = self.properties.codec, None
        if codec != "av1":
            bitstream_filter = BitStreamFilterContext(f"{codec}_mp4toannexb", self._source.stream)
        started = False
        for packet in self._packets_from_key_frame(first_pts):
            for part in bitstream_filter.filter(packet) if bitstream_filter else [packet]:
                data = bytes(part)
                if not data:
                    continue
                if part.pts is None:
                    raise CudaUnsupported("a packet has no timestamp")
                is_access_point = bool(part.is_keyframe) and _is_random_access_point(data, codec)
                if not started and (not is_access_point or part.pts > first_pts):
                    raise CudaUnsupported("no complete key picture lies at or before the first wanted one")
                started = True
                yield part.pts, data, is_access_point

    def _packets_from_key_frame(self, first_pts: int) -> "Iterator[Packet[Any]]":
        """Packets from a key frame with a pts of at most `first_pts`; an index by decode times may find a later one."""
        container, stream = self._source.container, self._source.stream
        start, target, step = stream.start_time or 0, first_pts, self._source.ticks_per_second
        while True:
            container.seek(target, stream=stream, backward=True)
            packets = read_packets(container, stream)
            head = next((packet for packet in packets if packet.size), None)
            if head is None or head.pts is None or head.pts <= first_pts or target <= start:
                return chain([head] if head else [], packets)
            target, step = max(start, target - step), step * 2


def _read_properties(source: VideoSource, colour: ColourTags) -> VideoProperties:
    codec_name, container_name = source.stream.codec_context.name, source.container.format.name
    codec = VIDEO_CODECS.get(codec_name)
    if codec is None or container_name == "avi":
        raise CudaUnsupported(f"{codec_name} in {container_name} runs on the CPU")
    frame = source.first_frame()
    if frame.format.name not in _PIXEL_FORMATS:
        raise CudaUnsupported(f"{frame.format.name} is not supported by the device")
    source_colour = video_colour(frame)
    if swscale_matrix(source_colour.matrix) != swscale_matrix(colour.matrix):
        raise CudaUnsupported("its colours are of another matrix than the render's")
    if done := describe(source_colour, colour):
        raise CudaUnsupported(f"its colours are {done.removeprefix('colours ')} on the CPU")
    if source.pixel_aspect is not None:
        raise CudaUnsupported("pixels that are not square run on the CPU")
    full_range = video_range(frame) == FULL_RANGE
    return VideoProperties((frame.width, frame.height), display_orientation(frame), full_range, codec)


def _is_random_access_point(data: bytes, codec: VideoCodec) -> bool:
    """Whether a key frame needs nothing from before it: hardware decoders show missing parts without an error."""
    types = {unit_type for unit_type, _ in nal_units(data, codec)}
    if codec == "h264":
        return _IDR in types
    return codec == "av1" or bool(types.intersection(_IRAP))


def nal_units(data: bytes, codec: VideoCodec) -> Iterator[tuple[int, int]]:
    """(type, offset) of each NAL unit of Annex B; nothing for AV1."""
    start = data.find(b"\0\0\1") if codec != "av1" else -1
    while 0 <= start < len(data) - 3:
        header = data[start + 3]
        yield (header & 31 if codec == "h264" else header >> 1 & 63), start + 3
        start = data.find(b"\0\0\1", start + 3)
