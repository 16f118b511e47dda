"""The table of canaries, and those of the CPU: each does a slot's work on known pictures and looks at what comes out.

Codecs are imported by the canaries' own process only; the table itself can be read anywhere.
"""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from service.devices.canary import Canary, NotHere, WrongOutput
from service.plan.capability import CPU, Stage
from service.plan.formats import Codec, PixelFormat

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

Result = TypeVar("Result")
FRAMES, ENCODED = 6, 18
"""Pictures that are decoded, and that are encoded: an encoder needs some to be at its own speed."""
MEGAPIXELS = 960 * 540 / 1e6
HERE = "service.worker.canaries"
CUDA = "service.worker.cuda_canaries"

CPU_WORK: tuple[tuple[Stage, str], ...] = (
    ("decode", "jpeg"),
    ("decode", "png"),
    ("decode", "tiff"),
    ("decode", "h264"),
    ("decode", "hevc"),
    ("transform", "nv12"),
    ("encode", "h264"),
    ("encode", "hevc"),
    ("encode", "av1"),
    ("encode", "mjpeg"),
    ("encode", "ffv1"),
)
CUDA_WORK: tuple[tuple[Stage, str], ...] = (
    ("decode", "jpeg"),
    ("decode", "h264"),
    ("decode", "hevc"),
    ("decode", "av1"),
    ("transform", "nv12"),
    ("encode", "h264"),
    ("encode", "hevc"),
    ("encode", "av1"),
)


def canaries_of(device: str) -> tuple[Canary, ...]:
    """What is proven of a device of this name."""
    module, work = (HERE, CPU_WORK) if device == CPU else (CUDA, CUDA_WORK)
    return tuple(Canary(device, stage, what, f"{module}:{stage}_{what}") for stage, what in work)


def prepare(_device: str) -> None:
    """Load what the canaries need, before their time is taken."""
    import imagecodecs  # noqa: F401

    from service.pipeline import decode, encode, transform  # noqa: F401


def decode_jpeg(_device: str) -> float:
    from service.pipeline.decode import ImageDecoder
    from service.worker import canary_pictures as known

    files = [known.jpeg(known.picture(number)) for number in range(FRAMES)]
    decoder = ImageDecoder(1 << 24)
    decoded, rate = timed(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_like(_luma(frame), known.luma(number), 36)
    return rate


def decode_png(_device: str) -> float:
    from service.pipeline.decode import ImageDecoder
    from service.worker import canary_pictures as known

    files = [known.png(known.picture(number)) for number in range(FRAMES)]
    decoder = ImageDecoder(1 << 24)
    decoded, rate = timed(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_same(frame.to_ndarray(format="rgb24"), known.picture(number))
    return rate


def decode_tiff(_device: str) -> float:
    from service.pipeline.decode import ImageDecoder
    from service.worker import canary_pictures as known

    files = [known.tiff(known.deep_picture(number)) for number in range(FRAMES)]
    decoder = ImageDecoder(1 << 24)
    decoded, rate = timed(lambda: [decoder.samples(data) for data in files])
    for number, samples in enumerate(decoded):
        if samples is None:
            raise WrongOutput("16-bit gray came out as something else")
        known.require_same(samples, known.deep_picture(number))
    return rate


def transform_nv12(_device: str) -> float:
    """To half the size; judged by means of four pixels."""
    from service.pipeline.colour import IMAGE_COLOUR
    from service.pipeline.decode import ImageDecoder
    from service.pipeline.transform import Transform
    from service.plan.render_plan import RenderOptions
    from service.worker import canary_pictures as known

    decoder = ImageDecoder(1 << 24)
    pictures = [decoder.decode(known.png(known.picture(number))) for number in range(FRAMES)]
    transform = Transform(RenderOptions("h264", 70, Fraction(30), 480, 270), IMAGE_COLOUR)
    made, rate = timed(lambda: [transform.apply(picture)[0] for picture in pictures])
    for number, frame in enumerate(made):
        halved = known.luma(number).reshape(270, 2, 480, 2).mean(axis=(1, 3))
        known.require_like(_luma(frame), halved, 40)
    return rate


def decode_h264(_device: str) -> float:
    return _decode_video("h264")


def decode_hevc(_device: str) -> float:
    return _decode_video("hevc")


def encode_h264(_device: str) -> float:
    return _encode("h264", 34)


def encode_hevc(_device: str) -> float:
    return _encode("hevc", 34)


def encode_av1(_device: str) -> float:
    return _encode("av1", 34)


def encode_mjpeg(_device: str) -> float:
    return _encode("mjpeg", 34)


def encode_ffv1(_device: str) -> float:
    return _encode("ffv1", 45)


def _encode(codec: Codec, decibels: float) -> float:
    from service.worker import canary_pictures as known

    frames = [known.yuv(number % FRAMES) for number in range(ENCODED)]
    segment, rate = timed(lambda: _segment(codec, frames), ENCODED)
    _require_pictures(_decoded(segment), ENCODED, decibels)
    return rate


def _decode_video(codec: Codec) -> float:
    from service.worker import canary_pictures as known

    segment = _segment(codec, [known.yuv(number) for number in range(FRAMES)])
    decoded, rate = timed(lambda: _decoded(segment))
    _require_pictures(decoded, FRAMES, 34)
    return rate


def _segment(codec: Codec, frames: "Sequence[VideoFrame]") -> bytes:
    """The pictures as a slot would encode them."""
    from av.codec.codec import UnknownCodecError

    from service.pipeline.colour import IMAGE_COLOUR
    from service.pipeline.encode import SegmentEncoder
    from service.plan.render_plan import RenderOptions
    from service.worker import canary_pictures as known

    form: PixelFormat = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = RenderOptions(codec, 70, Fraction(30), known.WIDTH, known.HEIGHT, form=form)
    encoder = SegmentEncoder(options, IMAGE_COLOUR)
    try:
        for frame in frames:
            encoder.add(frame)
        return encoder.finish()
    except UnknownCodecError as error:
        raise NotHere(f"this FFmpeg has no encoder {error}") from error


def _decoded(segment: bytes) -> "list[VideoFrame]":
    import io

    import av

    with av.open(io.BytesIO(segment), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return list(container.decode(video=0))


def _require_pictures(frames: "Sequence[VideoFrame]", due: int, decibels: float) -> None:
    from service.worker import canary_pictures as known

    if len(frames) != due:
        raise WrongOutput(f"{len(frames)} pictures where {due} were due")
    for number, frame in enumerate(frames):
        known.require_like(_luma(frame), known.luma(number % FRAMES), decibels)


def _luma(frame: "VideoFrame") -> "np.ndarray[Any, Any]":
    """0 to 255 in float32, whatever the frame's range; of R'G'B' too."""
    import numpy as np

    from service.pipeline import planes

    if frame.format.is_rgb:
        raise WrongOutput(f"{frame.format.name} where YCbCr was due")
    levels = planes.views(frame)[0].astype(np.float32)
    full = "yuvj" in frame.format.name or frame.color_range == 2
    return levels if full else (levels - 16) * np.float32(255 / 219)


def timed(work: Callable[[], Result], pictures: int = FRAMES) -> tuple[Result, float]:
    """What comes out, and megapixels a second of one core: time in which slots have it does not count."""
    began = time.process_time()
    made = work()
    return made, pictures * MEGAPIXELS / max(time.process_time() - began, 1e-9)
