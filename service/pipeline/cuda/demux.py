"""Demuxes an open source video with PyAV into Annex B packets for a hardware decoder, starting at a key frame.

PyNvVideoCodec's own demuxer is not used: this one reads ranges, seeks like the CPU path and knows every packet's
time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from av import Packet, VideoFrame
from av.bitstream import BitStreamFilterContext

from service.pipeline.colour import FULL_RANGE, ColourTags, swscale_matrix, video_colour
from service.pipeline.cuda.driver import CudaDriver, DeviceImage, VideoCodec
from service.pipeline.cuda.errors import CudaUnsupported
from service.pipeline.orientation import orientation_of_display
from service.pipeline.videos.decoder import MAX_BACKLOG_BYTES
from service.pipeline.videos.source import VideoSource

_CODECS: dict[str, VideoCodec] = {"h264": "h264", "hevc": "hevc", "av1": "av1"}
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
# NAL unit types with which H.264 and HEVC can begin anew: H.264's other key pictures recover only after some time.
_IDR, _IRAP = 5, range(16, 22)


@dataclass(frozen=True, slots=True)
class VideoProperties:
    """What the first picture says of all: (width, height) as coded, EXIF orientation, whether it is full range."""

    size: tuple[int, int]
    orientation: int
    full_range: bool
    codec: VideoCodec


class VideoDemuxer:
    """Raises CudaUnsupported for what a device cannot decode or would show wrongly, Unreadable for what is no video."""

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
        """(pts, image) in order of presentation, from a key picture at or before the first wanted one on.

        `wanted` tells the time of the next one that is: groups of pictures before it are not decoded.
        """
        feed = driver.open_decoder(self.properties.codec, *self.properties.size)
        try:
            for pts, data in self._required_packets(next_pts):
                yield from feed.decode(data, pts)
            yield from feed.finish()
        finally:
            feed.close()

    def _required_packets(self, next_pts: Callable[[], int]) -> Iterator[tuple[int, bytes]]:
        """Packets wait until it is known whether a key picture at or before the wanted time follows them."""
        backlog: list[tuple[int, bytes]] = []
        held = 0
        for pts, data, begins in self._annex_b_packets(next_pts()):
            if begins and pts <= next_pts():
                backlog, held = [], 0
            backlog.append((pts, data))
            held += len(data)
            if pts >= next_pts() or held > MAX_BACKLOG_BYTES:
                yield from backlog
                backlog, held = [], 0
        yield from backlog

    def _annex_b_packets(self, first_pts: int) -> Iterator[tuple[int, bytes, bool]]:
        """(pts, bytes, whether decoding can begin with it) of each packet."""
        convert = _annex_b_filter(self.properties.codec, self._source)
        begun = False
        for packet in self._packets_from_key_frame(first_pts):
            for part in convert.filter(packet) if convert else [packet]:
                data = bytes(part)
                if not data:
                    continue
                if part.pts is None:
                    raise CudaUnsupported("a packet without a time is for the CPU")
                begins = bool(part.is_keyframe) and _is_random_access_point(data, self.properties.codec)
                if not begun and (not begins or part.pts > first_pts):
                    raise CudaUnsupported("no complete key picture lies at or before the first wanted one")
                begun = True
                yield part.pts, data, begins

    def _packets_from_key_frame(self, first_pts: int) -> "Iterator[Packet[Any]]":
        """From a key picture that is shown at or before `first`: an index by decoding times may find a later one."""
        container, stream = self._source.container, self._source.stream
        start, target, step = stream.start_time or 0, first_pts, self._source.ticks_per_second
        while True:
            container.seek(target, stream=stream, backward=True)
            packets = container.demux(stream)
            head = next((packet for packet in packets if packet.size), None)
            if head is None or head.pts is None or head.pts <= first_pts or target <= start:
                return chain([head] if head else [], packets)
            target, step = max(start, target - step), step * 2


def _read_properties(source: VideoSource, colour: ColourTags) -> VideoProperties:
    codec = _CODECS.get(source.stream.codec_context.name)
    if codec is None or source.container.format.name == "avi":
        raise CudaUnsupported(f"{source.stream.codec_context.name} in {source.container.format.name} is for the CPU")
    frame = source.first_frame()
    if frame.format.name not in _PIXEL_FORMATS:
        raise CudaUnsupported(f"{frame.format.name} is decoded by the CPU")
    if not _same_matrix(frame, colour):
        raise CudaUnsupported("its colours are of another matrix than the render's")
    full = frame.format.name == "yuvj420p" or frame.color_range == FULL_RANGE
    orientation = orientation_of_display(frame.rotation)
    return VideoProperties((frame.width, frame.height), orientation, full, codec)


def _same_matrix(frame: VideoFrame, colour: ColourTags) -> bool:
    return swscale_matrix(video_colour(frame).matrix) == swscale_matrix(colour.matrix)


def _annex_b_filter(codec: VideoCodec, source: VideoSource) -> BitStreamFilterContext | None:
    return None if codec == "av1" else BitStreamFilterContext(f"{codec}_mp4toannexb", source.stream)


def _is_random_access_point(data: bytes, codec: VideoCodec) -> bool:
    """Whether a key picture needs nothing from before it: a hardware decoder shows what it cannot know as if it did."""
    types = {kind for kind, _ in nal_units(data, codec)}
    if codec == "h264":
        return _IDR in types
    return codec == "av1" or bool(types.intersection(_IRAP))


def nal_units(data: bytes, codec: VideoCodec) -> Iterator[tuple[int, int]]:
    """(type, offset) of each NAL unit of Annex B; nothing for AV1."""
    place = data.find(b"\0\0\1") if codec != "av1" else -1
    while 0 <= place < len(data) - 3:
        head = data[place + 3]
        yield (head & 31 if codec == "h264" else head >> 1 & 63), place + 3
        place = data.find(b"\0\0\1", place + 3)
