"""The table of canaries, and the canaries of the CPU: each runs a piece of real work on known pictures and checks the
output.

Only the canary process imports codecs; the table itself can be imported anywhere."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from service.devices.canary import Canary, Unsupported, WrongOutput
from service.plan.capability import CPU, Stage
from service.plan.formats import Codec, PixelFormat

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

Result = TypeVar("Result")
# Pictures that are decoded, and that are encoded: an encoder needs some to be at its own speed.
DECODED_FRAMES, ENCODED_FRAMES = 6, 18
FRAME_MEGAPIXELS = 960 * 540 / 1e6
CPU_MODULE = "service.worker.devices.canaries"
CUDA_MODULE = "service.worker.devices.cuda_canaries"

CPU_CAPABILITIES: tuple[tuple[Stage, str], ...] = (
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
CUDA_CAPABILITIES: tuple[tuple[Stage, str], ...] = (
    ("decode", "jpeg"),
    ("decode", "h264"),
    ("decode", "hevc"),
    ("decode", "av1"),
    ("transform", "nv12"),
    ("encode", "h264"),
    ("encode", "hevc"),
    ("encode", "av1"),
)


def canaries_for(device: str) -> tuple[Canary, ...]:
    """What is proven of a device of this name."""
    module, work = (CPU_MODULE, CPU_CAPABILITIES) if device == CPU else (CUDA_MODULE, CUDA_CAPABILITIES)
    return tuple(Canary(device, stage, what, f"{module}:{stage}_{what}") for stage, what in work)


def prepare(_device: str) -> None:
    """Load what the canaries need, before their time is taken."""
    import imagecodecs  # noqa: F401

    from service.pipeline.encode.encoder import SegmentEncoder  # noqa: F401
    from service.pipeline.images.decoder import ImageDecoder  # noqa: F401
    from service.pipeline.transform.frame_transform import FrameTransform  # noqa: F401


def decode_jpeg(_device: str) -> float:
    from service.pipeline.images.decoder import ImageDecoder
    from service.pipeline.images.header import DecodeOptions
    from service.worker.devices import canary_pictures as known

    files = [known.jpeg(known.picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = measure_rate(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_similar(_full_range_luma(frame), known.luma(number), 36)
    return rate


def decode_png(_device: str) -> float:
    from service.pipeline.images.decoder import ImageDecoder
    from service.pipeline.images.header import DecodeOptions
    from service.worker.devices import canary_pictures as known

    files = [known.png(known.picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = measure_rate(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_equal(frame.to_ndarray(format="rgb24"), known.picture(number))
    return rate


def decode_tiff(_device: str) -> float:
    from service.pipeline.images.decoder import ImageDecoder
    from service.pipeline.images.header import DecodeOptions
    from service.worker.devices import canary_pictures as known

    files = [known.tiff(known.deep_picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = measure_rate(lambda: [decoder.decode_samples(data) for data in files])
    for number, samples in enumerate(decoded):
        if samples is None:
            raise WrongOutput("16-bit gray came out as something else")
        known.require_equal(samples, known.deep_picture(number))
    return rate


def transform_nv12(_device: str) -> float:
    """To half the size; judged by means of four pixels."""
    from service.pipeline.colour import IMAGE_COLOUR
    from service.pipeline.images.decoder import ImageDecoder
    from service.pipeline.images.header import DecodeOptions
    from service.pipeline.transform.frame_transform import FrameTransform
    from service.plan.render_plan import RenderOptions
    from service.worker.devices import canary_pictures as known

    decoder = ImageDecoder(DecodeOptions(1 << 24))
    pictures = [decoder.decode(known.png(known.picture(number))) for number in range(DECODED_FRAMES)]
    transform = FrameTransform(RenderOptions("h264", 70, Fraction(30), 480, 270), IMAGE_COLOUR)
    made, rate = measure_rate(lambda: [transform.apply(picture)[0] for picture in pictures])
    for number, frame in enumerate(made):
        halved = known.luma(number).reshape(270, 2, 480, 2).mean(axis=(1, 3))
        known.require_similar(_full_range_luma(frame), halved, 40)
    return rate


def decode_h264(_device: str) -> float:
    return _check_video_decoder("h264")


def decode_hevc(_device: str) -> float:
    return _check_video_decoder("hevc")


def encode_h264(_device: str) -> float:
    return _check_encoder("h264", 34)


def encode_hevc(_device: str) -> float:
    return _check_encoder("hevc", 34)


def encode_av1(_device: str) -> float:
    return _check_encoder("av1", 34)


def encode_mjpeg(_device: str) -> float:
    return _check_encoder("mjpeg", 34)


def encode_ffv1(_device: str) -> float:
    return _check_encoder("ffv1", 45)


def _check_encoder(codec: Codec, min_psnr: float) -> float:
    from service.worker.devices import canary_pictures as known

    frames = [known.yuv(number % DECODED_FRAMES) for number in range(ENCODED_FRAMES)]
    segment, rate = measure_rate(lambda: _encode_segment(codec, frames), ENCODED_FRAMES)
    _require_frames(_decode_segment(segment), ENCODED_FRAMES, min_psnr)
    return rate


def _check_video_decoder(codec: Codec) -> float:
    from service.worker.devices import canary_pictures as known

    segment = _encode_segment(codec, [known.yuv(number) for number in range(DECODED_FRAMES)])
    decoded, rate = measure_rate(lambda: _decode_segment(segment))
    _require_frames(decoded, DECODED_FRAMES, 34)
    return rate


def _encode_segment(codec: Codec, frames: "Sequence[VideoFrame]") -> bytes:
    """The pictures as a slot would encode them."""
    from av.codec.codec import UnknownCodecError

    from service.pipeline.colour import IMAGE_COLOUR
    from service.pipeline.encode.encoder import SegmentEncoder
    from service.plan.render_plan import RenderOptions
    from service.worker.devices import canary_pictures as known

    form: PixelFormat = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = RenderOptions(codec, 70, Fraction(30), known.WIDTH, known.HEIGHT, form=form)
    encoder = SegmentEncoder(options, IMAGE_COLOUR)
    try:
        for frame in frames:
            encoder.add(frame)
        return encoder.finish()
    except UnknownCodecError as error:
        raise Unsupported(f"this FFmpeg has no encoder {error}") from error


def _decode_segment(segment: bytes) -> "list[VideoFrame]":
    import io

    import av

    with av.open(io.BytesIO(segment), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return list(container.decode(video=0))


def _require_frames(frames: "Sequence[VideoFrame]", count: int, min_psnr: float) -> None:
    from service.worker.devices import canary_pictures as known

    if len(frames) != count:
        raise WrongOutput(f"{len(frames)} pictures where {count} were due")
    for number, frame in enumerate(frames):
        known.require_similar(_full_range_luma(frame), known.luma(number % DECODED_FRAMES), min_psnr)


def _full_range_luma(frame: "VideoFrame") -> "np.ndarray[Any, Any]":
    """0 to 255 in float32, whatever the frame's range; of R'G'B' too."""
    import numpy as np

    from service.pipeline import planes

    if frame.format.is_rgb:
        raise WrongOutput(f"{frame.format.name} where YCbCr was due")
    levels = planes.plane_views(frame)[0].astype(np.float32)
    full = "yuvj" in frame.format.name or frame.color_range == 2
    return levels if full else (levels - 16) * np.float32(255 / 219)


def measure_rate(work: Callable[[], Result], frames: int = DECODED_FRAMES) -> tuple[Result, float]:
    """What comes out, and megapixels a second of one core: time in which slots have it does not count."""
    began = time.process_time()
    made = work()
    return made, frames * FRAME_MEGAPIXELS / max(time.process_time() - began, 1e-9)
