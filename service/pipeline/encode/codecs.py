"""Encoder settings per codec: quality scale, options, colour tags. A new codec starts here.

`python -m benchmarks quality` fits the quality scale so that equal quality gives equal SSIM: see docs/quality.md.
"""

import functools
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version

import av
from av.video.codeccontext import VideoCodecContext

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR, PIXEL_FORMATS, RGB_MATRIX, ColourTags
from service.plan.formats import Codec
from service.plan.render_plan import RenderOptions

_STEP = 10
# Values at quality 0, 10, …, 100, linear in between: a CRF; for mjpeg libjpeg's quality; ffv1 is lossless.
_ENCODER_QUALITIES: dict[Codec, tuple[float, ...]] = {
    "h264": (51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11),
    "hevc": (47.7, 46.1, 42.0, 36.7, 32.3, 27.8, 23.6, 19.7, 15.4, 10.6, 6.4),
    "av1": (63, 63, 63, 63, 60.7, 57.1, 49.7, 38.1, 25.8, 8.7, 3.4),
    "mjpeg": (1, 3.4, 6.1, 10.6, 19.7, 31.7, 54.9, 74.4, 85.9, 93.2, 96.4),
    "ffv1": (0,) * 11,
}


def encoder_quality(codec: Codec, quality: int) -> int:
    """The encoder's own value (CRF, or libjpeg's quality) for a quality from 0 to 100. Raises ValueError outside."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    step, rest = divmod(quality, _STEP)
    values = _ENCODER_QUALITIES[codec]
    if not rest:
        return round(values[step])
    return round(values[step] + (values[step + 1] - values[step]) * rest / _STEP)


# The GOP is not limited: the segment ends it (keyint=1 would change the SPS of segments of one frame).
# cpu-independent: without it the macroblock tree depends on the CPU's instruction set, and the AVX-512 code of core 165
# reads memory that was never written.
_X264 = "keyint=infinite:scenecut=0:open-gop=0:threads=1:lookahead-threads=1:cpu-independent=1"

# With blocks down to 8 pixels (min-cu-size): SSIM and size of superfast, also for text, in 80 % of the time.
_X265_PRESET = "ultrafast"

# As for x264. info=0 keeps x265's own settings out of the stream; log-level=none because its log bypasses FFmpeg's.
# A shorter lookahead saves 45 MB at 1080p for 1 % more bytes.
_X265 = (
    "keyint=-1:scenecut=0:open-gop=0:pools=none:frame-threads=1:wpp=0:info=0:log-level=none"
    ":rc-lookahead=3:bframes=2:b-pyramid=0:aq-mode=1:min-cu-size=8"
)

# The fastest correct preset: 11 to 13 of SVT-AV1 4.1 miss small changes of level in flat areas (a blinking LED) three
# times as often, because their quick skip decision compares variances instead of means.
_SVT_PRESET = "10"

# A pyramid of 16 frames without lookahead: at equal SSIM 12 % fewer bytes than one of 8, for 43 MB more at 1080p.
# No temporal filter: it blends neighbouring frames into those that are predicted from them.
_SVT_AV1 = "lp=1:keyint=-1:irefresh-type=2:scd=0:lookahead=0:hierarchical-levels=4:enable-tf=0"

# Every frame is a key frame. FFmpeg chooses the number of slices from the size, whatever the number of threads; a fixed
# one does not fit some odd sizes of subsampled frames. Small frames get one slice.
_FFV1 = {"level": "3", "coder": "range_def", "context": "0", "g": "1", "slicecrc": "1"}


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder of FFmpeg. Every segment's dts are decoding index - `reorder_depth`.

    `codec_tag` is the four-character code in MP4 and MOV, if FFmpeg's choice does not play everywhere.
    """

    name: str
    reorder_depth: int = 0
    codec_tag: str | None = None


# libx264 has 3 B-frames in a pyramid, libx265 2 without one; libsvtav1 puts hidden frames into the packet of a shown
# one. QuickTime and Safari play HEVC only as hvc1. FFmpeg's mjpeg encoder only declares the stream: see `encode_jpeg`.
ENCODERS: dict[Codec, EncoderSpec] = {
    "h264": EncoderSpec("libx264", 2),
    "hevc": EncoderSpec("libx265", 1, "hvc1"),
    "av1": EncoderSpec("libsvtav1"),
    "mjpeg": EncoderSpec("mjpeg"),
    "ffv1": EncoderSpec("ffv1"),
}


def reorder_depth(options: RenderOptions) -> int:
    """How many frames decoding is ahead of showing.

    0 for captured timing, which has no B-frames, so that a sample's duration is that of its frame.
    """
    return 0 if options.timing else ENCODERS[options.codec].reorder_depth


def encoder_options(options: RenderOptions, colour: ColourTags) -> dict[str, str]:
    """FFmpeg options of the encoder for these render options."""
    shared = f"chromaloc={int(colour.chroma_centred)}" + (":bframes=0" if options.timing else "")
    match options.codec:
        case "h264":
            return _crf_options(options, "veryfast") | {"profile": "high", "x264-params": f"{_X264}:{shared}"}
        case "hevc":
            return _crf_options(options, _X265_PRESET) | {"x265-params": f"{_X265}:{shared}"}
        case "av1":
            return _crf_options(options, _SVT_PRESET) | {"svtav1-params": _SVT_AV1}
        case "ffv1":
            is_small = options.width <= 352 and options.height <= 288
            return _FFV1 | ({"slices": "1"} if is_small else {})
        case _:
            return {}


def _crf_options(options: RenderOptions, preset: str) -> dict[str, str]:
    return {"preset": preset, "crf": str(encoder_quality(options.codec, options.quality))}


def configure_context(context: VideoCodecContext, options: RenderOptions, colour: ColourTags) -> None:
    """Set size, rate, threads and colour tags of a context that is not open yet."""
    silence_svt_log()
    spec = PIXEL_FORMATS[options.form]
    context.width, context.height, context.pix_fmt = options.width, options.height, spec.pixel_format
    context.framerate, context.time_base = options.fps, 1 / options.ticks
    context.thread_count = 1
    context.color_range, context.colorspace = spec.range, RGB_MATRIX if spec.rgb else colour.matrix
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    if options.pixel_aspect not in (None, 1):
        context.sample_aspect_ratio = options.pixel_aspect
    if options.codec == "mjpeg":
        context.pix_fmt = "yuvj420p"  # the encoder knows no gray; each JPEG declares its own format
    if tag := ENCODERS[options.codec].codec_tag:
        context.codec_tag = tag


def silence_svt_log() -> None:
    """Log errors only. libSvtAv1Enc reads SVT_LOG when the first AV1 encoder is opened."""
    os.environ.setdefault("SVT_LOG", "1")


@functools.cache
def encoder_name(codec: Codec) -> str:
    """The encoder and its version, such as "libx264 core 165 r3222", for the receipt."""
    name = ENCODERS[codec].name
    if codec == "mjpeg":
        return f"libjpeg-turbo (imagecodecs {version('imagecodecs')})"
    if codec == "h264" and (banner := re.search(rb"x264 - (core \d+ r?\d*)", _encode_black_frame(codec))):
        return f"{name} {banner[1].decode().strip()}"
    return f"{name} (FFmpeg {av.ffmpeg_version_info}, PyAV {av.__version__})"


def _encode_black_frame(codec: Codec) -> bytes:
    """The packets of one black frame: libx264 writes its version into the first one."""
    options = RenderOptions(codec, 70, Fraction(30), 64, 64)
    context = av.CodecContext.create(ENCODERS[codec].name, "w")
    assert isinstance(context, VideoCodecContext)
    configure_context(context, options, IMAGE_COLOUR)
    context.options = encoder_options(options, IMAGE_COLOUR)
    packets = [*context.encode(planes.black_frame(64, 64)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
