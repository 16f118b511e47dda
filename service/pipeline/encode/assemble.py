"""Joins segments into one file by stream copy: packets get new timestamps, nothing is re-encoded."""

import io
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av import Packet
from av.container import OutputContainer
from av.video.stream import VideoStream

from service.pipeline.encode.codecs import ENCODERS, reorder_depth
from service.pipeline.encode.mux import MUXERS, SKIP_DECODE, file_mux_options
from service.pipeline.encode.pixel_aspect import write_display_width
from service.pipeline.field_order import STREAM_ORDERS, order_of
from service.plan.render_plan import FieldOrder, RenderOptions

# Of an ffv1 video, the pictures whose flags say whether its fields were kept.
_JUDGED_PICTURES = 5


class SegmentMismatch(Exception):
    """Segments differ in parameter sets, size or codec, so they cannot share one track."""


class NothingToAssemble(Exception):
    """Every segment is empty: all frames were skipped."""


def assemble(segments: Iterable[bytes], options: RenderOptions, out: Path) -> None:
    """Write `out` from fragmented MP4 segments in order, one in memory at a time; empty ones are skipped.

    At a constant rate, frame k is shown at exactly k / fps. Otherwise frames keep the durations of their segment, in
    Matroska rounded to its unit of a millisecond. MP4 and MOV are faststart. The same segments give the same bytes.
    Raises SegmentMismatch, NothingToAssemble.
    """
    muxer, settings = MUXERS[options.container], file_mux_options(options.container, options.ticks)
    with av.open(str(out), "w", format=muxer, options=settings) as container:
        track = Track(container, options)
        for data in segments:
            if data:
                track.append(data)
        if not track.frames:
            raise NothingToAssemble("no segment has a frame")
    if options.container == "mkv" and options.pixel_aspect not in (None, 1):
        write_display_width(out, options.shown_size[0])


class Track:
    """The video track of an output; `frames` is the number of frames written, `ticks` their total duration."""

    def __init__(self, container: OutputContainer, options: RenderOptions) -> None:
        self._container = container
        self._options = options
        self._stream: VideoStream | None = None
        self._tick, self._reorder_depth = 1 / options.ticks, reorder_depth(options)
        self._identity: tuple[object, ...] = ()
        self.frames = self.ticks = 0

    def append(self, segment: bytes) -> None:
        """Write the packets of the next segment. Raises SegmentMismatch."""
        with av.open(io.BytesIO(segment), "r", stream_options=self._stream_options()) as source:
            stream = source.streams.video[0]
            self._accept_stream(stream, segment)
            assert stream.time_base is not None
            to_ticks = _tick_converter(stream.time_base * self._options.ticks)
            packets = [packet for packet in source.demux(stream) if packet.size]
            ticks = len(packets)
            if self._options.timing:
                ticks = max(to_ticks(packet.pts) + to_ticks(packet.duration) for packet in packets)
            for position, packet in enumerate(packets):
                self._write(packet, position, to_ticks)
            self.frames, self.ticks = self.frames + len(packets), self.ticks + ticks

    def _stream_options(self) -> Any:
        """Decode a frame of the first segment of a Matroska file: only a decoder knows that it is not interlaced, which
        is written to the file."""
        return None if self._stream is None and self._options.container == "mkv" else SKIP_DECODE

    def _accept_stream(self, source: VideoStream, segment: bytes) -> None:
        identity = (source.codec_context.extradata, source.width, source.height, source.codec_context.codec.id)
        if self._stream is None:
            self._stream = self._container.add_stream_from_template(source, opaque=True)
            self._stream.time_base = self._tick
            if self._options.codec == "ffv1":
                self._stream.codec_context.field_order = STREAM_ORDERS.get(self._field_order(segment), 0)
            if (tag := ENCODERS[self._options.codec].codec_tag) and self._options.container in ("mp4", "mov"):
                self._stream.codec_context.codec_tag = tag
            self._identity = identity
        if identity != self._identity:
            raise SegmentMismatch(
                f"the segment from frame {self.frames} on has other encoder parameters than the first"
            )

    def _field_order(self, segment: bytes) -> FieldOrder:
        """That of the pictures: only source videos may be interlaced, and only their first pictures tell it here."""
        if self._options.source_kind != "video":
            return "progressive"
        with av.open(io.BytesIO(segment), "r") as source:
            orders = {order_of(frame) for frame in islice(source.decode(video=0), _JUDGED_PICTURES)}
        return orders.pop() if len(orders) == 1 else "mixed"

    def _write(self, packet: "Packet[VideoStream]", position: int, to_ticks: "TickConverter") -> None:
        assert self._stream is not None
        timed = self._options.timing is not None
        duration = to_ticks(packet.duration)
        packet.pts = self.ticks + to_ticks(packet.pts)
        packet.dts = packet.pts if timed else self.frames + position - self._reorder_depth
        packet.duration, packet.time_base = duration if timed else 1, self._tick
        packet.stream = self._stream
        self._container.mux(packet)


TickConverter = Callable[[int | None], int]


def _tick_converter(ticks_per_unit: Fraction) -> TickConverter:
    """Converts a time to ticks, rounded to the nearest; in integer arithmetic, because it runs for each packet."""
    numerator, denominator = ticks_per_unit.numerator, ticks_per_unit.denominator

    def to_ticks(time: int | None) -> int:
        assert time is not None
        return (2 * time * numerator + denominator) // (2 * denominator)

    return to_ticks
