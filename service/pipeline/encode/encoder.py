"""Encodes frames into one closed GOP in a fragmented MP4 whose timestamps start at 0."""

import io
from bisect import bisect_right
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av import Packet, VideoFrame
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from service.pipeline import planes
from service.pipeline.colour import ColourTags
from service.pipeline.encode.codecs import ENCODERS, configure_context, encoder_options, encoder_quality, reorder_depth
from service.pipeline.encode.mux import segment_mux_options
from service.pipeline.encode.pixel_aspect import PixelAspectWriter
from service.pipeline.frame_context import EncoderInput
from service.pipeline.native_libraries import reset_scheduler
from service.plan.render_plan import RenderOptions

# Pixel format -> (rows, columns of luma per chroma sample, libjpeg's name).
_SUBSAMPLING = {"yuv420p": (2, 2, "420"), "yuv422p": (1, 2, "422"), "yuv444p": (1, 1, "444")}


def encode_jpeg(frame: VideoFrame, quality: int, optimize: bool = False) -> bytes:
    """A JPEG of a gray or full-range YCbCr frame of 8 bits; `quality` is libjpeg's, 1 to 100.

    `optimize`: Huffman codes made for this picture, instead of the standard's; the samples are the same.
    """
    import imagecodecs  # 30 MB that only MJPEG and TIFF need

    name = frame.format.name.replace("yuvj", "yuv")
    if name == "gray":
        luma = np.ascontiguousarray(planes.plane_views(frame)[0])
        return bytes(imagecodecs.jpeg8_encode(luma, level=quality, optimize=optimize))
    rows, columns, subsampling = _SUBSAMPLING[name]
    return bytes(
        imagecodecs.jpeg8_encode(
            _interleave(frame, rows, columns),
            level=quality,
            colorspace="YCBCR",
            outcolorspace="YCBCR",
            subsampling=subsampling,
            optimize=optimize,
        )
    )


def _interleave(frame: VideoFrame, rows: int, columns: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """(height, width, 3) of uint8; chroma samples are repeated, so that libjpeg's averaging restores them."""
    pixels = np.empty((frame.height, frame.width, 3), np.uint8)
    luma, *chroma = planes.plane_views(frame)
    pixels[..., 0] = luma
    for channel, samples in enumerate(chroma, 1):
        full = samples.repeat(rows, axis=0).repeat(columns, axis=1)
        pixels[..., channel] = full[: frame.height, : frame.width]
    return pixels


class SegmentEncoder:
    """Encodes the frames of one segment, in order, on the calling thread. `frames` counts them.

    The encoder for GPUs overrides `_open_stream`, `_encode` and `_flush`.
    """

    def __init__(self, options: RenderOptions, colour: ColourTags) -> None:
        self._options = options
        self._colour = colour
        self._buffer = io.BytesIO()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._reorder = reorder_depth(options)
        pixel_aspect = options.pixel_aspect or Fraction(1)
        self._write_pixel_aspect = PixelAspectWriter(pixel_aspect) if options.codec == "ffv1" else None
        # In ticks: the time of the next frame, and when each frame added so far is shown.
        self._decode_index = self._clock = 0
        self._starts: list[int] = []
        self._pending: list[Packet[VideoStream]] = []
        self.frames = 0

    @property
    def next_start_seconds(self) -> Fraction:
        """When the next frame is shown, in seconds from the start of the segment."""
        return self._next_start / self._options.ticks

    @property
    def _next_start(self) -> int:
        """The first frame starts at 0, whatever was skipped before it."""
        return self._clock if self._starts else 0

    def add(self, picture: EncoderInput, shown_for: int = 1) -> None:
        """Encode a frame of the output's pixel format and size, or append a JPEG unchanged; shown for so many ticks."""
        stream, start = self._stream or self._open_stream(), self._next_start
        self._starts.append(start)
        self._clock += shown_for
        if isinstance(picture, VideoFrame) and self._options.codec == "mjpeg":
            quality = encoder_quality("mjpeg", self._options.quality)
            picture = encode_jpeg(picture, quality, optimize=self._options.effort == "small")
        self._queue(self._encode(picture, stream, start))
        self.frames += 1

    def skip(self, ticks: int) -> None:
        """Skip a frame: its time is added to the frame before it or, at the start of the segment, to the one after."""
        self._clock += ticks

    def finish(self) -> bytes:
        """The segment's bytes; empty when no frame was added."""
        if self._stream is None or self._container is None:
            return b""
        self._queue(self._flush(self._stream))
        self._write(self._pending)
        self._container.close()
        return self._buffer.getvalue()

    def close(self) -> None:
        """Release what is not only memory; the CPU encoders have nothing."""

    def _open_stream(self) -> VideoStream:
        options = self._options
        self._container = av.open(self._buffer, "w", format="mp4", options=segment_mux_options(options.ticks))
        encoder = ENCODERS[options.codec].name
        stream = self._container.add_stream(encoder, options.fps, encoder_options(options, self._colour))
        assert isinstance(stream, VideoStream)
        configure_context(stream.codec_context, options, self._colour)
        stream.width, stream.height = options.width, options.height
        if options.codec == "av1":
            stream.codec_context.open()
            reset_scheduler()
        self._stream = stream
        return stream

    def _encode(self, picture: EncoderInput, stream: VideoStream, start: int) -> "list[Packet[VideoStream]]":
        if isinstance(picture, bytes):
            return [self._packet(picture, stream, start)]
        assert isinstance(picture, VideoFrame), "pictures in GPU memory are encoded by DeviceEncoder"
        picture.pts, picture.time_base = start, 1 / self._options.ticks
        picture.pict_type = PictureType.NONE  # decoded JPEGs say I, which would force a key frame
        return stream.encode(self._write_pixel_aspect(picture) if self._write_pixel_aspect else picture)

    def _flush(self, stream: VideoStream) -> "list[Packet[VideoStream]]":
        return [] if self._options.codec == "mjpeg" else stream.encode(None)

    def _packet(self, data: bytes, stream: VideoStream, start: int, key: bool = True) -> "Packet[VideoStream]":
        packet = Packet(data)
        packet.stream, packet.is_keyframe = stream, key
        packet.pts, packet.time_base = start, 1 / self._options.ticks
        return cast("Packet[VideoStream]", packet)

    def _queue(self, packets: "list[Packet[VideoStream]]") -> None:
        """Write all but the last packet: a frame's duration is known only when the next frame has been added."""
        ready = [*self._pending, *packets]
        self._pending = ready[-1:]
        self._write(ready[:-1])

    def _write(self, packets: "list[Packet[VideoStream]]") -> None:
        """Packets get counted dts: the first dts of an encoder depends on how many B-frames it chose."""
        assert self._container is not None
        for packet in packets:
            assert packet.pts is not None
            position = self._decode_index - self._reorder
            packet.dts = self._starts[position] if position >= 0 else position
            following = bisect_right(self._starts, packet.pts)
            end = self._starts[following] if following < len(self._starts) else self._clock
            packet.duration = end - packet.pts
            self._decode_index += 1
            self._container.mux(packet)
