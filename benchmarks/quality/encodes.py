"""Bytes and SSIM of a clip encoded at one rate, with the encoder settings of the pipeline."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av import Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from service.pipeline.colour import FULL_RANGE, IMAGE_COLOUR, LIMITED_RANGE
from service.pipeline.encode.codecs import ENCODERS, configure_context, encoder_options
from service.pipeline.encode.encoder import encode_jpeg
from service.pipeline.native_libraries import reset_scheduler
from service.pipeline.transform.colour_range import convert_range
from service.plan.formats import Codec, Effort
from service.plan.render_plan import RenderOptions

FPS = Fraction(30)
_DECODERS: dict[Codec, str] = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d", "mjpeg": "mjpeg"}


@dataclass(frozen=True, slots=True)
class EncodeResult:
    """`rate`: crf, quantiser, or libjpeg's quality. `ssim`: FFmpeg's, over all planes, mean of the frames.

    `cpu_seconds` are the encoder's.
    """

    clip: str
    codec: Codec
    rate: int
    frames: int
    bytes: int
    ssim: float
    effort: Effort = "balanced"
    cpu_seconds: float = 0

    @property
    def decibels(self) -> float:
        return -10 * math.log10(1 - min(self.ssim, 0.999999))


def encode_clip(
    clip_name: str, clip: Sequence[VideoFrame], codec: Codec, rate: int, effort: Effort = "balanced"
) -> EncodeResult:
    """Encode a clip of limited-range yuv420p frames on this thread, decode it again, and compare."""
    if codec == "mjpeg":
        sources = [_convert_range(FULL_RANGE, frame) for frame in clip]
        began = time.process_time()
        packets, extradata = [encode_jpeg(frame, rate, effort == "small") for frame in sources], None
    else:
        began = time.process_time()
        packets, extradata = _encode_packets(clip, codec, rate, effort)
    spent = time.process_time() - began
    shown = _decode_packets(codec, packets, extradata)
    if codec == "mjpeg":
        shown = [_convert_range(LIMITED_RANGE, frame) for frame in shown]
    ssim, size = _mean_ssim(shown, clip), sum(map(len, packets))
    return EncodeResult(clip_name, codec, rate, len(clip), size, ssim, effort, spent)


def _convert_range(color_range: int, frame: VideoFrame) -> VideoFrame:
    return convert_range(color_range, frame, "yuv420p")


def _encode_packets(
    clip: Sequence[VideoFrame], codec: Codec, rate: int, effort: Effort
) -> tuple[list[bytes], bytes | None]:
    options = RenderOptions(codec, 70, FPS, clip[0].width, clip[0].height, effort=effort)
    context = av.CodecContext.create(ENCODERS[codec].name, "w")
    assert isinstance(context, VideoCodecContext)
    configure_context(context, options, IMAGE_COLOUR)
    given = encoder_options(options, IMAGE_COLOUR)
    context.options = given | {"qp" if "qp" in given else "crf": str(rate)}
    context.open()
    reset_scheduler()
    packets = []
    for number, frame in enumerate(clip):
        frame.pts, frame.time_base, frame.pict_type = number, 1 / FPS, PictureType.NONE
        packets += context.encode(frame)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets], context.extradata


def _decode_packets(codec: Codec, packets: Sequence[bytes], extradata: bytes | None) -> list[VideoFrame]:
    context = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    if extradata:
        context.extradata = extradata
    frames = [frame for packet in packets for frame in context.decode(Packet(packet))]
    return frames + context.decode(None)


def _mean_ssim(decoded: Sequence[VideoFrame], reference: Sequence[VideoFrame]) -> float:
    graph, (width, height) = av.filter.Graph(), (reference[0].width, reference[0].height)
    inputs = [
        graph.add_buffer(width=width, height=height, format=reference[0].format, time_base=1 / FPS) for _ in range(2)
    ]
    measure, out = graph.add("ssim"), graph.add("buffersink")
    for port, source in enumerate(inputs):
        source.link_to(measure, 0, port)
    measure.link_to(out)
    graph.configure()
    total = 0.0
    for number, pair in enumerate(zip(decoded, reference, strict=True)):
        for source, frame in zip(inputs, pair, strict=True):
            frame.pts, frame.time_base = number, 1 / FPS
            source.push(frame)
        total += float(out.pull().metadata["lavfi.ssim.All"])
    return total / len(reference)
