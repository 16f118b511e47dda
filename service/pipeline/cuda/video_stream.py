"""One open source video as a device sees it: demuxed by PyAV to Annex B, decoded by a feed, from a key picture on.

The demuxer of PyNvVideoCodec is not used: this one reads ranges, seeks like the CPU path, and knows each packet's time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from av import Packet, VideoFrame
from av.bitstream import BitStreamFilterContext

from service.pipeline.colour import FULL, Colour, swscale_matrix, video_colour
from service.pipeline.cuda.driver import CudaDriver, DeviceImage, VideoCodec
from service.pipeline.cuda.faults import CudaUnsupported
from service.pipeline.video_source import ORIENTATION_OF_ROTATION, VideoSource

_CODECS: dict[str, VideoCodec] = {"h264": "h264", "hevc": "hevc", "av1": "av1"}
_FORMATS = ("yuv420p", "yuvj420p")
_IDR, _IRAP = 5, range(16, 22)
"""NAL unit types with which H.264 and HEVC can begin anew: H.264's other key pictures recover only after some time."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the first picture says of all: (width, height) as coded, EXIF orientation, whether it is full range."""

    size: tuple[int, int]
    orientation: int
    full_range: bool
    codec: VideoCodec


class VideoStream:
    """Raises CudaUnsupported for what a device cannot decode or would show wrongly, Unreadable for what is no video."""

    def __init__(self, file: BinaryIO, colour: Colour) -> None:
        self._source = VideoSource(file)
        try:
            self.facts = _facts(self._source, colour)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._source.close()

    def pictures(self, driver: CudaDriver, first: int) -> Iterator[tuple[int, DeviceImage]]:
        """(pts, image) in order of presentation, from a key picture at or before `first` on."""
        feed = driver.open_decoder(self.facts.codec, *self.facts.size)
        try:
            for pts, data in self._annex_b(first):
                yield from feed.decode(data, pts)
            yield from feed.finish()
        finally:
            feed.close()

    def _annex_b(self, first: int) -> Iterator[tuple[int, bytes]]:
        convert = _converter(self.facts.codec, self._source)
        begun = False
        for packet in self._packets(first):
            for part in convert.filter(packet) if convert else [packet]:
                data = bytes(part)
                if not data:
                    continue
                if not begun:
                    _require_beginning(part, data, self.facts.codec, first)
                    begun = True
                if part.pts is None:
                    raise CudaUnsupported("a packet without a time is for the CPU")
                yield part.pts, data

    def _packets(self, first: int) -> "Iterator[Packet[Any]]":
        """From a key picture that is shown at or before `first`: an index by decoding times may find a later one."""
        container, stream = self._source.container, self._source.stream
        start, target, step = stream.start_time or 0, first, self._source.second
        while True:
            container.seek(target, stream=stream, backward=True)
            packets = container.demux(stream)
            head = next((packet for packet in packets if packet.size), None)
            if head is None or head.pts is None or head.pts <= first or target <= start:
                return chain([head] if head else [], packets)
            target, step = max(start, target - step), step * 2


def _facts(source: VideoSource, colour: Colour) -> VideoFacts:
    codec = _CODECS.get(source.stream.codec_context.name)
    if codec is None or source.container.format.name == "avi":
        raise CudaUnsupported(f"{source.stream.codec_context.name} in {source.container.format.name} is for the CPU")
    frame = source.first()
    if frame.format.name not in _FORMATS:
        raise CudaUnsupported(f"{frame.format.name} is decoded by the CPU")
    if not _same_matrix(frame, colour):
        raise CudaUnsupported("its colours are of another matrix than the render's")
    full = frame.format.name == "yuvj420p" or frame.color_range == FULL
    orientation = ORIENTATION_OF_ROTATION.get(frame.rotation, 1)
    return VideoFacts((frame.width, frame.height), orientation, full, codec)


def _same_matrix(frame: VideoFrame, colour: Colour) -> bool:
    return swscale_matrix(video_colour(frame).matrix) == swscale_matrix(colour.matrix)


def _converter(codec: VideoCodec, source: VideoSource) -> BitStreamFilterContext | None:
    return None if codec == "av1" else BitStreamFilterContext(f"{codec}_mp4toannexb", source.stream)


def _require_beginning(packet: "Packet[Any]", data: bytes, codec: VideoCodec, first: int) -> None:
    """A hardware decoder shows what it cannot know as if it did: it has to begin where nothing is missing."""
    if not packet.is_keyframe or packet.pts is None or packet.pts > first:
        raise CudaUnsupported("no key picture lies at or before the first wanted one")
    types = {kind for kind, _ in nal_units(data, codec)}
    if (codec == "h264" and _IDR not in types) or (codec == "hevc" and not types.intersection(_IRAP)):
        raise CudaUnsupported("its key pictures recover slowly: they are decoded by the CPU")


def nal_units(data: bytes, codec: VideoCodec) -> Iterator[tuple[int, int]]:
    """(type, offset) of each NAL unit of Annex B; nothing for AV1."""
    place = data.find(b"\0\0\1") if codec != "av1" else -1
    while 0 <= place < len(data) - 3:
        head = data[place + 3]
        yield (head & 31 if codec == "h264" else head >> 1 & 63), place + 3
        place = data.find(b"\0\0\1", place + 3)
