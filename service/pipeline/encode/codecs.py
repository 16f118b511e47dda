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
from service.plan.formats import Codec, Effort
from service.plan.render_plan import RenderOptions

_STEP = 10

# The GOP is not limited: the segment ends it (keyint=1 would change the SPS of segments of one frame).
# cpu-independent: without it the macroblock tree depends on the CPU's instruction set, and the AVX-512 code of core 165
# reads memory that was never written.
_X264 = "keyint=infinite:scenecut=0:open-gop=0:threads=1:lookahead-threads=1:cpu-independent=1"

# As for x264. info=0 keeps x265's own settings out of the stream; log-level=none because its log bypasses FFmpeg's.
_X265 = "keyint=-1:scenecut=0:open-gop=0:pools=none:frame-threads=1:wpp=0:info=0:log-level=none"

# No lookahead and no temporal filter: the filter blends neighbouring frames into those that are predicted from them.
_SVT_AV1 = "lp=1:keyint=-1:irefresh-type=2:scd=0:lookahead=0:hierarchical-levels=4:enable-tf=0"

# Every frame is a key frame. FFmpeg chooses the number of slices from the size, whatever the number of threads; a fixed
# one does not fit some odd sizes of subsampled frames. Small frames get one slice.
_FFV1 = {"level": "3", "g": "1", "slicecrc": "1"}


@dataclass(frozen=True, slots=True)
class EffortSettings:
    """What an encoder is told at one effort.

    `rates` are its values at quality 0, 10, …, 100, linear in between, under the name `rate_option`. `parameters` are
    in the encoder's own syntax. `reorder_depth` is how many frames decoding is ahead of showing.
    """

    rates: tuple[float, ...]
    preset: str = ""
    parameters: str = ""
    rate_option: str = "crf"
    reorder_depth: int = 0


_EFFORTS: dict[Codec, dict[Effort, EffortSettings]] = {
    "h264": {
        # One quantiser instead of a rate control, which would have to look at each frame first. The deblocking filter
        # gains more SSIM than it costs, B-frames cost less than P-frames, and the 8x8 transform makes it High profile.
        "fast": EffortSettings(
            (51, 50.1, 45.6, 41.3, 37.0, 32.7, 28.2, 24.0, 20.2, 15.7, 3.0),
            preset="ultrafast",
            parameters="no-deblock=0:deblock=0,0:8x8dct=1:bframes=3:b-adapt=0:b-pyramid=0",
            rate_option="qp",
            reorder_depth=1,
        ),
        # The last step is longer: at 100, what is seen is what was put in, to 50 dB also with the noise of a camera.
        "balanced": EffortSettings((51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 1), preset="veryfast", reorder_depth=2),
        # No psychovisual decisions: the scale is SSIM's. More than 4 references at 1080p need a level above 4.
        "small": EffortSettings(
            (51, 48.6, 46.2, 41.6, 37.1, 33.4, 29.5, 25.7, 21.6, 15.8, 2.0),
            preset="slower",
            parameters="psy=0:rc-lookahead=20:bframes=8:ref=4",
            reorder_depth=2,
        ),
    },
    "hevc": {
        # With blocks down to 8 pixels (min-cu-size): SSIM and size of superfast, also for text, in 80 % of the time.
        # A shorter lookahead saves 45 MB at 1080p for 1 % more bytes.
        "balanced": EffortSettings(
            (47.7, 46.1, 42.0, 36.7, 32.3, 27.8, 23.6, 19.7, 15.4, 10.6, 1),
            preset="ultrafast",
            parameters="rc-lookahead=3:bframes=2:b-pyramid=0:aq-mode=1:min-cu-size=8",
            reorder_depth=1,
        ),
        # No psychovisual decisions, as for x264.
        "small": EffortSettings(
            (51, 51, 47.4, 42.0, 36.7, 32.7, 28.9, 25.2, 20.7, 15.7, 4.0),
            preset="fast",
            parameters="rc-lookahead=10:bframes=4:aq-mode=2:psy-rd=0:psy-rdoq=0",
            reorder_depth=2,
        ),
    },
    "av1": {
        # The fastest correct preset: 11 to 13 of SVT-AV1 4.1 miss small changes of level in flat areas (a blinking LED)
        # three times as often, because their quick skip decision compares variances instead of means.
        # A pyramid of 16 frames: at equal SSIM 12 % fewer bytes than one of 8, for 43 MB more at 1080p.
        # scm=0: with its tools for screens, this preset keeps letters of the frame before.
        "balanced": EffortSettings(
            (63, 63, 63, 63, 60.7, 57.1, 49.7, 38.1, 25.8, 8.7, 3.4), preset="10", parameters="scm=0"
        ),
        "small": EffortSettings((63, 63, 63, 63, 61.9, 58.9, 53.5, 41.8, 31.6, 17.7, 6.0), preset="6"),
    },
    # libjpeg's quality: the same picture at every effort.
    "mjpeg": {"balanced": EffortSettings((1, 3.4, 6.1, 10.6, 19.7, 31.7, 54.9, 74.4, 85.9, 93.2, 98.7))},
    "ffv1": {"balanced": EffortSettings((0,) * 11)},
}


def encoder_quality(codec: Codec, quality: int, effort: Effort = "balanced") -> int:
    """The encoder's own value (CRF, quantiser, or libjpeg's quality) for a quality from 0 to 100.

    Raises ValueError outside.
    """
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 0 to 100")
    step, rest = divmod(quality, _STEP)
    rates = _settings(codec, effort).rates
    if not rest:
        return round(rates[step])
    return round(rates[step] + (rates[step + 1] - rates[step]) * rest / _STEP)


def _settings(codec: Codec, effort: Effort) -> EffortSettings:
    efforts = _EFFORTS[codec]
    return efforts.get(effort) or efforts["balanced"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder of FFmpeg.

    `codec_tag` is the four-character code in MP4 and MOV, if FFmpeg's choice does not play everywhere.
    """

    name: str
    codec_tag: str | None = None


# QuickTime and Safari play HEVC only as hvc1. FFmpeg's mjpeg encoder only declares the stream: see `encode_jpeg`.
ENCODERS: dict[Codec, EncoderSpec] = {
    "h264": EncoderSpec("libx264"),
    "hevc": EncoderSpec("libx265", "hvc1"),
    "av1": EncoderSpec("libsvtav1"),
    "mjpeg": EncoderSpec("mjpeg"),
    "ffv1": EncoderSpec("ffv1"),
}


def reorder_depth(options: RenderOptions) -> int:
    """How many frames decoding is ahead of showing: every segment's dts are decoding index - this.

    libx264 and libx265 have B-frames, at most in a pyramid of two levels; libsvtav1 puts hidden frames into the packet
    of a shown one. 0 for captured timing, which has no B-frames, so that a sample's duration is that of its frame.
    """
    return 0 if options.timing else _settings(options.codec, options.effort).reorder_depth


def encoder_options(options: RenderOptions, colour: ColourTags) -> dict[str, str]:
    """FFmpeg options of the encoder for these render options."""
    own = _settings(options.codec, options.effort).parameters
    shared = f"chromaloc={int(colour.chroma_centred)}" + (":bframes=0" if options.timing else "")
    match options.codec:
        case "h264":
            return _rate_options(options) | {"profile": "high", "x264-params": _join(_X264, own, shared)}
        case "hevc":
            return _rate_options(options) | {"x265-params": _join(_X265, own, shared)}
        case "av1":
            return _rate_options(options) | {"svtav1-params": _join(_SVT_AV1, own)}
        case "ffv1":
            return _ffv1_options(options)
        case _:
            return {}


def _rate_options(options: RenderOptions) -> dict[str, str]:
    settings = _settings(options.codec, options.effort)
    rate = encoder_quality(options.codec, options.quality, options.effort)
    return {"preset": settings.preset, settings.rate_option: str(rate)}


def _join(*parameters: str) -> str:
    return ":".join(filter(None, parameters))


def _ffv1_options(options: RenderOptions) -> dict[str, str]:
    """Golomb-Rice codes are the faster ones, for 8 bits only; `range_tab` has an adaptation tuned on pictures.

    More context gains where there is little noise; 16-bit samples get worse by it.
    """
    deep = PIXEL_FORMATS[options.form].high_bit_depth
    coder = {"fast": "range_def" if deep else "rice", "small": "range_tab"}.get(options.effort, "range_def")
    context = "1" if options.effort == "small" and not deep else "0"
    is_small = options.width <= 352 and options.height <= 288
    return _FFV1 | {"coder": coder, "context": context} | ({"slices": "1"} if is_small else {})


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
