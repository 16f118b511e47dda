"""Encoder settings per codec, and the mapping of the 0 to 100 quality scale to each encoder's own.

The scale is fitted by `python -m benchmarks quality` so that equal quality gives equal SSIM: see docs/quality.md."""

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
# At quality 0, 10, …, 100, and linear in between: a crf; for mjpeg libjpeg's quality; ffv1 loses nothing.
_ENCODER_QUALITIES: dict[Codec, tuple[float, ...]] = {
    "h264": (51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11),
    "hevc": (47.7, 46.1, 42.0, 36.7, 32.3, 27.8, 23.6, 19.7, 15.4, 10.6, 6.4),
    "av1": (63, 63, 63, 63, 60.7, 57.1, 49.7, 38.1, 25.8, 8.7, 3.4),
    "mjpeg": (1, 3.4, 6.1, 10.6, 19.7, 31.7, 54.9, 74.4, 85.9, 93.2, 96.4),
    "ffv1": (0,) * 11,
}


def encoder_quality(codec: Codec, quality: int) -> int:
    """The encoder's own measure of this quality, monotonic in it. Raises ValueError outside 0..100."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    place, beyond = divmod(quality, _STEP)
    rates = _ENCODER_QUALITIES[codec]
    if not beyond:
        return round(rates[place])
    return round(rates[place] + (rates[place + 1] - rates[place]) * beyond / _STEP)


# No limit on the GOP: the segment ends it. A limit of one frame would change the SPS of one-frame segments. cpu-
# independent is for the same bytes: without it the macroblock tree is computed otherwise on each generation of CPUs,
# and by its AVX-512 code, in core 165, from memory that was never written.
_X264 = "keyint=infinite:scenecut=0:open-gop=0:threads=1:lookahead-threads=1:cpu-independent=1"

# With blocks down to 8 pixels: SSIM and bytes of superfast, text included, in four fifths of the time.
_X265_PRESET = "ultrafast"

# As for x264; `info` would write x265's own settings into the stream, and its log goes around FFmpeg's to stderr. Fewer
# pictures under way than by default: 45 MB less at 1080p, for 1 % more bytes.
_X265 = (
    "keyint=-1:scenecut=0:open-gop=0:pools=none:frame-threads=1:wpp=0:info=0:log-level=none"
    ":rc-lookahead=3:bframes=2:b-pyramid=0:aq-mode=1:min-cu-size=8"
)

# The fastest that is right: presets 11 to 13 of SVT-AV1 4.1 drop changes of level in flat areas (a blinking LED stays
# dark for some frames) three times as often, because their quick skip decision compares variances, not means.
_SVT_PRESET = "10"

# A pyramid of 16 frames and no lookahead: at equal SSIM an eighth fewer bytes than one of 8, for 43 MB more at 1080p.
# No temporal filter: it would blend neighbouring pictures into those predicted from them.
_SVT_AV1 = "lp=1:keyint=-1:irefresh-type=2:scd=0:lookahead=0:hierarchical-levels=4:enable-tf=0"

# Every frame for itself. The number of slices is left to FFmpeg but for small ones: it follows from the size, with one
# thread or many, and a fixed one does not fit some odd sizes of subsampled frames.
_FFV1 = {"level": "3", "coder": "range_def", "context": "0", "g": "1", "slicecrc": "1"}


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """`reorder` is how many frames decoding runs behind showing: dts = decoding index - reorder, for every segment.

    `tag` is the four-character code in MP4 and MOV where FFmpeg's own choice is not the one that plays.
    """

    name: str
    reorder_depth: int = 0
    codec_tag: str | None = None


# libx264: 3 B-frames in a pyramid, reorder depth 2; libx265: none in a pyramid, 1. libsvtav1 packs hidden frames with
# the shown one. QuickTime and Safari play HEVC as hvc1 only. FFmpeg's mjpeg encoder only stands for the stream, what
# encodes is in jpeg_encode.
ENCODERS: dict[Codec, EncoderSpec] = {
    "h264": EncoderSpec("libx264", 2),
    "hevc": EncoderSpec("libx265", 1, "hvc1"),
    "av1": EncoderSpec("libsvtav1"),
    "mjpeg": EncoderSpec("mjpeg"),
    "ffv1": EncoderSpec("ffv1"),
}


def reorder_depth(options: RenderOptions) -> int:
    """0 for pictures of their own length each: decoded as they are shown, a sample's length is its picture's."""
    return 0 if options.timing else ENCODERS[options.codec].reorder_depth


def encoder_options(options: RenderOptions, colour: ColourTags) -> dict[str, str]:
    """FFmpeg options of the encoder for these render options."""
    location = f"chromaloc={int(colour.chroma_centred)}" + (":bframes=0" if options.timing else "")
    match options.codec:
        case "h264":
            return _crf_options(options, "veryfast") | {"profile": "high", "x264-params": f"{_X264}:{location}"}
        case "hevc":
            return _crf_options(options, _X265_PRESET) | {"x265-params": f"{_X265}:{location}"}
        case "av1":
            return _crf_options(options, _SVT_PRESET) | {"svtav1-params": _SVT_AV1}
        case "ffv1":
            small = options.width <= 352 and options.height <= 288
            return _FFV1 | ({"slices": "1"} if small else {})
        case _:
            return {}


def _crf_options(options: RenderOptions, preset: str) -> dict[str, str]:
    return {"preset": preset, "crf": str(encoder_quality(options.codec, options.quality))}


def configure_context(context: VideoCodecContext, options: RenderOptions, colour: ColourTags) -> None:
    """Size, rate, threads and colour tags; the context must not be open yet."""
    silence_svt_log()
    form = PIXEL_FORMATS[options.form]
    context.width, context.height, context.pix_fmt = options.width, options.height, form.pixel_format
    context.framerate, context.time_base = options.fps, 1 / options.ticks
    context.thread_count = 1
    context.color_range, context.colorspace = form.range, RGB_MATRIX if form.rgb else colour.matrix
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    if options.codec == "mjpeg":
        context.pix_fmt = "yuvj420p"  # it has no gray; each JPEG says what it is
    if tag := ENCODERS[options.codec].codec_tag:
        context.codec_tag = tag


def silence_svt_log() -> None:
    """Before an encoder of AV1 is opened: libSvtAv1Enc reads at start-up how much it tells; errors only."""
    os.environ.setdefault("SVT_LOG", "1")


@functools.cache
def encoder_name(codec: Codec) -> str:
    """The encoder and its version, such as "libx264 core 165 r3222"; part of a receipt."""
    name = ENCODERS[codec].name
    if codec == "mjpeg":
        return f"libjpeg-turbo (imagecodecs {version('imagecodecs')})"
    if codec == "h264" and (banner := re.search(rb"x264 - (core \d+ r?\d*)", _encode_black_frame(codec))):
        return f"{name} {banner[1].decode().strip()}"
    return f"{name} (FFmpeg {av.ffmpeg_version_info}, PyAV {av.__version__})"


def _encode_black_frame(codec: Codec) -> bytes:
    """Encode one black frame: libx264 signs its first picture."""
    options = RenderOptions(codec, 70, Fraction(30), 64, 64)
    context = av.CodecContext.create(ENCODERS[codec].name, "w")
    assert isinstance(context, VideoCodecContext)
    configure_context(context, options, IMAGE_COLOUR)
    context.options = encoder_options(options, IMAGE_COLOUR)
    packets = [*context.encode(planes.black_frame(64, 64)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
