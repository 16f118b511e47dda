"""Canaries of the CPU: each runs a piece of real work on known pictures and checks the output."""

import io
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import av
import imagecodecs  # noqa: F401 (loaded before the time of a canary is taken)
import numpy as np
from av import VideoFrame
from av.codec.codec import UnknownCodecError

from service.devices.canary import Unsupported, WrongOutput
from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.encode.encoder import SegmentEncoder
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.formats import Codec, PixelFormat
from service.plan.render_plan import RenderOptions
from service.worker.devices import canary_pictures as known
from service.worker.devices.canary_pictures import DECODED_FRAMES, FRAME_MEGAPIXELS

Result = TypeVar("Result")
# Frames that are encoded: an encoder reaches its normal speed only after some.
ENCODED_FRAMES = 18


def decode_jpeg(_device: str) -> float:
    files = [known.jpeg(known.picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = _measure_rate(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_similar(_full_range_luma(frame), known.luma(number), 36)
    return rate


def decode_png(_device: str) -> float:
    files = [known.png(known.picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = _measure_rate(lambda: [decoder.decode(data).frame for data in files])
    for number, frame in enumerate(decoded):
        known.require_equal(frame.to_ndarray(format="rgb24"), known.picture(number))
    return rate


def decode_tiff(_device: str) -> float:
    files = [known.tiff(known.deep_picture(number)) for number in range(DECODED_FRAMES)]
    decoder = ImageDecoder(DecodeOptions(1 << 24))
    decoded, rate = _measure_rate(lambda: [decoder.decode_samples(data) for data in files])
    for number, samples in enumerate(decoded):
        if samples is None:
            raise WrongOutput("the decoded TIFF is not 16-bit gray")
        known.require_equal(samples, known.deep_picture(number))
    return rate


def transform_nv12(_device: str) -> float:
    """Scale to half the size; the expected pixels are means of four."""

    decoder = ImageDecoder(DecodeOptions(1 << 24))
    pictures = [decoder.decode(known.png(known.picture(number))) for number in range(DECODED_FRAMES)]
    transform = FrameTransform(RenderOptions("h264", 70, Fraction(30), 480, 270), IMAGE_COLOUR)
    frames, rate = _measure_rate(lambda: [transform.apply(picture)[0] for picture in pictures])
    for number, frame in enumerate(frames):
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
    frames = [known.yuv(number % DECODED_FRAMES) for number in range(ENCODED_FRAMES)]
    segment, rate = _measure_rate(lambda: _encode_segment(codec, frames), ENCODED_FRAMES)
    known.require_frames([_full_range_luma(frame) for frame in _decode_segment(segment)], ENCODED_FRAMES, min_psnr)
    return rate


def _check_video_decoder(codec: Codec) -> float:
    segment = _encode_segment(codec, [known.yuv(number) for number in range(DECODED_FRAMES)])
    decoded, rate = _measure_rate(lambda: _decode_segment(segment))
    known.require_frames([_full_range_luma(frame) for frame in decoded], DECODED_FRAMES, 34)
    return rate


def _encode_segment(codec: Codec, frames: Sequence[VideoFrame]) -> bytes:
    """Encode the frames as a slot would."""

    pixel_format: PixelFormat = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = RenderOptions(codec, 70, Fraction(30), known.WIDTH, known.HEIGHT, form=pixel_format)
    encoder = SegmentEncoder(options, IMAGE_COLOUR)
    try:
        for frame in frames:
            encoder.add(frame)
        return encoder.finish()
    except UnknownCodecError as error:
        raise Unsupported(f"this FFmpeg has no encoder {error}") from error


def _decode_segment(segment: bytes) -> list[VideoFrame]:
    with av.open(io.BytesIO(segment), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return list(container.decode(video=0))


def _full_range_luma(frame: VideoFrame) -> np.ndarray[Any, Any]:
    """Luma as float32, 0 to 255, from limited or full range. Raises WrongOutput for RGB."""

    if frame.format.is_rgb:
        raise WrongOutput(f"{frame.format.name} instead of YCbCr")
    levels = planes.plane_views(frame)[0].astype(np.float32)
    full = "yuvj" in frame.format.name or frame.color_range == 2
    return levels if full else known.to_full_range(levels)


def _measure_rate(work: Callable[[], Result], frames: int = DECODED_FRAMES) -> tuple[Result, float]:
    """The result, and the rate in megapixels per second of CPU time, in which time used by slots does not count."""
    started_at = time.process_time()
    result = work()
    return result, frames * FRAME_MEGAPIXELS / max(time.process_time() - started_at, 1e-9)
