"""Frames -> one closed GOP in a fragmented MP4 whose timestamps start at 0."""

import io
from fractions import Fraction
from typing import cast

import av
from av import Packet, VideoFrame
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from service.pipeline.codecs import ENCODERS, configure, encoder_options
from service.pipeline.colour import Colour
from service.pipeline.jpeg_encode import encode_jpeg
from service.pipeline.mux import segment_options
from service.pipeline.quality import rate
from service.pipeline.work import Ready
from service.plan.render_plan import RenderOptions


class SegmentEncoder:
    """Encodes the frames of one segment, in order, on the calling thread. `frames` counts them."""

    def __init__(self, options: RenderOptions, colour: Colour) -> None:
        self._options = options
        self._colour = colour
        self._buffer = io.BytesIO()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._decode_index = 0
        self.frames = 0

    @property
    def clock(self) -> Fraction:
        """When the next picture is shown: seconds from the segment's beginning."""
        return self.frames / self._options.fps

    def add(self, picture: Ready) -> None:
        """Encode a frame of the output's form and size, or put a JPEG as it is, as the next picture."""
        stream = self._stream or self._start()
        if isinstance(picture, VideoFrame) and self._options.codec == "mjpeg":
            picture = encode_jpeg(picture, rate("mjpeg", self._options.quality))
        if isinstance(picture, bytes):
            self._mux([self._whole(picture, stream)])
        else:
            picture.pts, picture.time_base = self.frames, 1 / self._options.fps
            picture.pict_type = PictureType.NONE  # a decoded JPEG says I, and every picture would become a key frame
            self._mux(stream.encode(picture))
        self.frames += 1

    def finish(self) -> bytes:
        """The segment's bytes; empty when no frame was added."""
        if self._stream is None or self._container is None:
            return b""
        if self._options.codec != "mjpeg":
            self._mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()

    def _start(self) -> VideoStream:
        options = self._options
        self._container = av.open(self._buffer, "w", format="mp4", options=segment_options(options.fps))
        encoder = ENCODERS[options.codec].name
        stream = self._container.add_stream(encoder, options.fps, encoder_options(options, self._colour))
        assert isinstance(stream, VideoStream)
        configure(stream.codec_context, options, self._colour)
        stream.width, stream.height = options.width, options.height
        self._stream = stream
        return stream

    def _whole(self, jpeg: bytes, stream: VideoStream) -> "Packet[VideoStream]":
        packet = Packet(jpeg)
        packet.stream, packet.is_keyframe = stream, True
        packet.pts, packet.time_base = self.frames, 1 / self._options.fps
        return cast("Packet[VideoStream]", packet)

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        """The encoder's own dts start differs with the number of B-frames it chose; a counted one never does."""
        assert self._container is not None
        for packet in packets:
            packet.dts = self._decode_index - ENCODERS[self._options.codec].reorder
            packet.duration = 1
            self._decode_index += 1
            self._container.mux(packet)
