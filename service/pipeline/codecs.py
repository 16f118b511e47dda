"""The CPU encoders and how they are set up: one thread, closed GOP, one key frame, the same bytes every time."""

import functools
import os
import re
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR, LIMITED, Colour
from service.pipeline.quality import crf
from service.plan.render_plan import Codec, RenderOptions

_X264 = "keyint=infinite:scenecut=0:open-gop=0:threads=1:lookahead-threads=1"
"""No limit on the GOP: the segment ends it. A limit of one frame would change the SPS of one-frame segments."""

_SVT_PRESET = "9"
"""The fastest that is right: from 10 on, SVT-AV1 4.1 drops a change of level in a flat area (a blinking LED stays
dark for some frames, at any crf), because its quick skip decision compares variances, not means."""

_SVT_AV1 = "lp=1:keyint=-1:irefresh-type=2:scd=0:lookahead=0:hierarchical-levels=3:enable-tf=0"
"""Short GOP pyramid and no lookahead: 225 MB at 1080p where the defaults take 400, and 8 % faster. No temporal
filter: it would blend neighbouring pictures into the ones that others are predicted from."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """`reorder` is how many frames decoding runs behind showing: dts = decoding index - reorder, for every segment."""

    name: str
    reorder: int


ENCODERS: dict[Codec, Encoder] = {"h264": Encoder("libx264", 2), "av1": Encoder("libsvtav1", 0)}
"""libx264 veryfast: 3 B-frames in a pyramid, reorder depth 2. libsvtav1 packs hidden frames with the shown one."""


def reorder(options: RenderOptions) -> int:
    """0 for pictures of their own length each: decoded as they are shown, a sample's length is its picture's."""
    return 0 if options.timing else ENCODERS[options.codec].reorder


def encoder_options(options: RenderOptions, colour: Colour) -> dict[str, str]:
    """FFmpeg options of the encoder for these render options."""
    rate = str(crf(options.codec, options.quality))
    if options.codec == "av1":
        return {"preset": _SVT_PRESET, "crf": rate, "svtav1-params": _SVT_AV1}
    params = f"{_X264}:chromaloc={int(colour.chroma_centred)}" + (":bframes=0" if options.timing else "")
    return {"preset": "veryfast", "profile": "high", "crf": rate, "x264-params": params}


def configure(context: VideoCodecContext, options: RenderOptions, colour: Colour) -> None:
    """Size, rate, threads and colour tags; the context must not be open yet."""
    os.environ.setdefault("SVT_LOG", "1")  # libSvtAv1Enc reads it at start-up; errors only
    context.width, context.height, context.pix_fmt = options.width, options.height, "yuv420p"
    context.framerate, context.time_base = options.fps, 1 / options.ticks
    context.thread_count = 1
    context.color_range, context.colorspace = LIMITED, colour.matrix
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer


@functools.cache
def encoder_name(codec: Codec) -> str:
    """The encoder and its version, such as "libx264 core 165 r3222"; part of a receipt."""
    name = ENCODERS[codec].name
    if codec == "h264" and (banner := re.search(rb"x264 - (core \d+ r?\d*)", _one_packet(codec))):
        return f"{name} {banner[1].decode().strip()}"
    return f"{name} (FFmpeg {av.ffmpeg_version_info}, PyAV {av.__version__})"


def _one_packet(codec: Codec) -> bytes:
    """Encode one black frame: libx264 signs its first picture."""
    options = RenderOptions(codec, 70, Fraction(30), 64, 64)
    context = av.CodecContext.create(ENCODERS[codec].name, "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, options, IMAGE_COLOUR)
    context.options = encoder_options(options, IMAGE_COLOUR)
    packets = [*context.encode(planes.black(64, 64)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
