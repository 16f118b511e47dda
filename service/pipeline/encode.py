"""Frames -> one closed GOP in a fragmented MP4 whose timestamps start at 0."""

import io
from bisect import bisect_right

import av
from av import Packet, VideoFrame
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from service.pipeline.codecs import ENCODERS, configure, encoder_options, reorder
from service.pipeline.colour import Colour
from service.pipeline.mux import segment_options
from service.plan.render_plan import RenderOptions


class SegmentEncoder:
    """Encodes the frames of one segment, in order, on the calling thread. `frames` counts them."""

    def __init__(self, options: RenderOptions, colour: Colour) -> None:
        self._options = options
        self._colour = colour
        self._buffer = io.BytesIO()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._decode_index = self._clock = 0
        self._starts: list[int] = []
        self._waiting: list[Packet[VideoStream]] = []
        self.frames = 0

    def add(self, frame: VideoFrame, shown_for: int = 1) -> None:
        """Encode a yuv420p limited-range frame of the output's size as the next picture, shown for so many ticks."""
        stream = self._stream or self._start()
        start = self._clock if self._starts else 0
        self._starts.append(start)
        self._clock += shown_for
        frame.pts, frame.time_base = start, 1 / self._options.ticks
        frame.pict_type = PictureType.NONE  # a decoded JPEG says I, and every picture would become a key frame
        self.frames += 1
        self._mux(stream.encode(frame))

    def wait(self, ticks: int) -> None:
        """Pass over a picture: its time goes to the one before it or, at the start, to the one after."""
        self._clock += ticks

    def finish(self) -> bytes:
        """The segment's bytes; empty when no frame was added."""
        if self._stream is None or self._container is None:
            return b""
        self._mux(self._stream.encode(None))
        self._write(self._waiting)
        self._container.close()
        return self._buffer.getvalue()

    def _start(self) -> VideoStream:
        options = self._options
        self._container = av.open(self._buffer, "w", format="mp4", options=segment_options(options.ticks))
        encoder = ENCODERS[options.codec].name
        stream = self._container.add_stream(encoder, options.fps, encoder_options(options, self._colour))
        assert isinstance(stream, VideoStream)
        configure(stream.codec_context, options, self._colour)
        stream.width, stream.height = options.width, options.height
        self._stream = stream
        return stream

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        """One packet waits: how long the last picture is shown is known when the next one comes."""
        ready = [*self._waiting, *packets]
        self._waiting = ready[-1:]
        self._write(ready[:-1])

    def _write(self, packets: "list[Packet[VideoStream]]") -> None:
        """The encoder's own dts start differs with the number of B-frames it chose; a counted one never does."""
        assert self._container is not None
        for packet in packets:
            assert packet.pts is not None
            place = self._decode_index - reorder(self._options)
            packet.dts = self._starts[place] if place >= 0 else place
            packet.duration = self._shown_for(packet.pts)
            self._decode_index += 1
            self._container.mux(packet)

    def _shown_for(self, start: int) -> int:
        after = bisect_right(self._starts, start)
        return (self._starts[after] if after < len(self._starts) else self._clock) - start
