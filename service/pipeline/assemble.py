"""Segments -> one file by stream copy: timestamps counted from 0 for the whole file, nothing re-encoded."""

import io
from collections.abc import Iterable
from pathlib import Path

import av
from av import Packet
from av.container import OutputContainer
from av.video.stream import VideoStream

from service.pipeline.codecs import ENCODERS, reorder
from service.pipeline.mux import MUXERS, UNSEEN, file_options
from service.plan.render_plan import RenderOptions


class SegmentsDiffer(Exception):
    """Two segments were not encoded alike (parameter sets, size or codec), so they cannot share one track."""


class NothingToAssemble(Exception):
    """Every segment is empty: all frames were skipped."""


def assemble(segments: Iterable[bytes], options: RenderOptions, out: Path) -> None:
    """Write `out` from fragmented MP4 segments in order, holding one segment at a time; empty ones are passed over.

    At a steady rate frame k is shown at exactly k / fps, otherwise for as long as its segment says, in Matroska to the
    nearest millisecond, its unit; each segment begins with a key frame. MP4 and MOV are faststart. The same segments
    give the same bytes. Raises SegmentsDiffer, NothingToAssemble.
    """
    muxer, settings = MUXERS[options.container], file_options(options.container, options.ticks)
    with av.open(str(out), "w", format=muxer, options=settings) as container:
        track = Track(container, options)
        for data in segments:
            if data:
                track.append(data)
        if not track.frames:
            raise NothingToAssemble("no segment has a frame")


class Track:
    """The one video track of an output; `frames` counts the pictures written, `ticks` how long they last."""

    def __init__(self, container: OutputContainer, options: RenderOptions) -> None:
        self._container = container
        self._options = options
        self._stream: VideoStream | None = None
        self._identity: tuple[object, ...] = ()
        self.frames = self.ticks = 0

    def append(self, segment: bytes) -> None:
        with av.open(io.BytesIO(segment), "r", stream_options=UNSEEN if self._stream else None) as source:
            stream = source.streams.video[0]
            self._accept(stream)
            packets = [packet for packet in source.demux(stream) if packet.size]
            lasts = self._lasts(packets)
            for position, packet in enumerate(packets):
                self._write(packet, position)
            self.frames, self.ticks = self.frames + len(packets), self.ticks + lasts

    def _lasts(self, packets: "list[Packet[VideoStream]]") -> int:
        if self._options.timing is None:
            return len(packets)
        return max(self._in_ticks(packet.pts, packet) + self._in_ticks(packet.duration, packet) for packet in packets)

    def _in_ticks(self, time: int | None, packet: "Packet[VideoStream]") -> int:
        assert time is not None
        return round(time * packet.time_base * self._options.ticks)

    def _accept(self, source: VideoStream) -> None:
        identity = (source.codec_context.extradata, source.width, source.height, source.codec_context.codec.id)
        if self._stream is None:
            self._stream = self._container.add_stream_from_template(source, opaque=True)
            self._stream.time_base = 1 / self._options.ticks
            if (tag := ENCODERS[self._options.codec].tag) and self._options.container in ("mp4", "mov"):
                self._stream.codec_context.codec_tag = tag
            self._identity = identity
        if identity != self._identity:
            raise SegmentsDiffer(f"the segment from frame {self.frames} on has other encoder parameters than the first")

    def _write(self, packet: "Packet[VideoStream]", position: int) -> None:
        assert self._stream is not None
        timed = self._options.timing is not None
        start, lasts = self._in_ticks(packet.pts, packet), self._in_ticks(packet.duration, packet)
        packet.pts = self.ticks + start
        packet.dts = packet.pts if timed else self.frames + position - reorder(self._options)
        packet.duration, packet.time_base = lasts if timed else 1, 1 / self._options.ticks
        packet.stream = self._stream
        self._container.mux(packet)
