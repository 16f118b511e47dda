"""Canaries of a CUDA device: known pictures through its driver, judged on the CPU."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from av import CodecContext, Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext

from service.devices.canary import Broken, NotHere, WrongOutput
from service.pipeline.codecs import quieten_svt
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import (
    CudaDriver,
    DeviceImage,
    EncodedPicture,
    EncoderSettings,
    Shaping,
    VideoCodec,
    load,
)
from service.pipeline.cuda.faults import CudaUnavailable, CudaUnsupported, DeviceLost
from service.pipeline.scheduling import stay_ordinary
from service.worker import canary_pictures as known
from service.worker.canaries import FRAMES, MEGAPIXELS

BATCH, CODED = 24, 18
WHOLE = (known.WIDTH, known.HEIGHT)
HALF = (known.WIDTH // 2, known.HEIGHT // 2)
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "bf": "0"}),
    "hevc": ("libx265", {"preset": "ultrafast", "bf": "0", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
    "av1": ("libsvtav1", {"preset": "10", "svtav1-params": "lp=1:pred-struct=1"}),
}
"""Without reordering: a packet is a picture."""
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}
open_driver = functools.cache(load)


def prepare(device: str) -> None:
    """Load the libraries and open the context, before a canary's time is taken."""
    with judged():
        open_driver(device)


@contextmanager
def judged() -> Iterator[None]:
    """What a fault of the driver means to a canary; those that are neither are light."""
    try:
        yield
    except (CudaUnavailable, CudaUnsupported) as fault:
        raise NotHere(fault.reason) from fault
    except DeviceLost as fault:
        raise Broken(fault.reason) from fault


def decode_jpeg(device: str) -> float:
    files = [known.jpeg(known.picture(number % FRAMES)) for number in range(BATCH)]
    with judged():
        driver = open_driver(device)
        driver.decode_jpegs(files[:1])  # a session is set up by the first call

        def decoded() -> Sequence[DeviceImage]:
            images = driver.decode_jpegs(files)
            if refused := [image for image in images if isinstance(image, str)]:
                raise WrongOutput(f"{len(refused)} of {BATCH} images refused: {refused[0]}")
            return [image for image in images if not isinstance(image, str)]

        images, rate = _timed(driver, decoded, BATCH)
        _require_pictures(_lumas(driver, images, WHOLE), BATCH, 36)
    return rate


def transform_nv12(device: str) -> float:
    """To half the size; judged by means of four pixels."""
    with judged():
        driver = open_driver(device)
        images = driver.upload([known.picture(number % FRAMES) for number in range(BATCH)])
        driver.shape(images, Shaping(HALF, HALF))  # compiles
        pictures, rate = _timed(driver, lambda: driver.shape(images, Shaping(HALF, HALF)), BATCH)
        found, _ = driver.download(pictures).wait()
    if len(found) != BATCH:
        raise WrongOutput(f"{len(found)} pictures where {BATCH} were due")
    for number, picture in enumerate(found):
        halved = known.luma(number % FRAMES).reshape(HALF[1], 2, HALF[0], 2).mean(axis=(1, 3))
        known.require_like(_levels(picture[: HALF[1]]), halved, 40)
    return rate


def decode_h264(device: str) -> float:
    return _decode(device, "h264")


def decode_hevc(device: str) -> float:
    return _decode(device, "hevc")


def decode_av1(device: str) -> float:
    return _decode(device, "av1")


def encode_h264(device: str) -> float:
    return _encode(device, "h264")


def encode_hevc(device: str) -> float:
    return _encode(device, "hevc")


def encode_av1(device: str) -> float:
    return _encode(device, "av1")


def _decode(device: str, codec: VideoCodec) -> float:
    packets = _elementary(codec)
    with judged():
        driver = open_driver(device)
        feed = driver.open_decoder(codec, *WHOLE)

        def decoded() -> list[tuple[int, DeviceImage]]:
            shown = [image for pts, packet in enumerate(packets) for image in feed.decode(packet, pts)]
            return [*shown, *feed.finish()]

        shown, rate = _timed(driver, decoded, CODED)
        if [pts for pts, _ in shown] != list(range(CODED)):
            raise WrongOutput(f"{len(shown)} pictures out of order, or not the {CODED} that were due")
        _require_pictures(_lumas(driver, [image for _, image in shown], WHOLE), CODED, 34)
        feed.close()
    return rate


def _encode(device: str, codec: VideoCodec) -> float:
    colour = (IMAGE_COLOUR.matrix, IMAGE_COLOUR.primaries, IMAGE_COLOUR.transfer)
    with judged():
        driver = open_driver(device)
        session = driver.open_encoder(EncoderSettings(codec, *WHOLE, Fraction(30), 80, colour))
        frames = [
            known.yuv(number % FRAMES).reformat(format="nv12").to_ndarray().astype(np.uint8) for number in range(CODED)
        ]

        def encoded() -> list[EncodedPicture]:
            return [*(part for frame in frames for part in session.encode(frame)), *session.finish()]

        parts, rate = _timed(driver, encoded, CODED)
        head = session.parameters()
        session.close()
    _require_pictures(_decoded(codec, head, [part.data for part in parts]), CODED, 34)
    return rate


def _lumas(driver: CudaDriver, images: Sequence[DeviceImage], size: tuple[int, int]) -> "list[np.ndarray[Any, Any]]":
    found, _ = driver.download(driver.shape(images, Shaping(size, size))).wait()
    return [_levels(picture[: size[1]]) for picture in found]


def _levels(luma: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Limited range -> 0 to 255."""
    return (luma.astype(np.float32) - 16) * np.float32(255 / 219)


def _require_pictures(found: "Sequence[np.ndarray[Any, Any]]", due: int, decibels: float) -> None:
    if len(found) != due:
        raise WrongOutput(f"{len(found)} pictures where {due} were due")
    for number, levels in enumerate(found):
        known.require_like(levels, known.luma(number % FRAMES), decibels)


def _elementary(codec: VideoCodec) -> list[bytes]:
    """Packets of the known pictures (Annex B, AV1: temporal units), one a picture, in order of presentation."""
    encoder, options = ENCODERS[codec]
    context = CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = *WHOLE, "yuv420p"
    context.time_base, context.framerate, context.thread_count = Fraction(1, 30), Fraction(30), 1
    context.options = {"crf": "16", **options}
    quieten_svt()
    context.open()
    stay_ordinary()
    packets = []
    for number in range(CODED):
        frame = known.yuv(number % FRAMES)
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(packet) for packet in (*packets, *context.encode(None))]


def _decoded(codec: VideoCodec, head: bytes, parts: Sequence[bytes]) -> "list[np.ndarray[Any, Any]]":
    """By FFmpeg; the parameter sets are put before the first picture, which may have them already."""
    context = CodecContext.create(DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    whole = [head + parts[0], *parts[1:]] if parts else []
    frames: list[VideoFrame] = [frame for part in whole for frame in context.decode(Packet(part))]
    frames += context.decode(None)
    return [
        _levels(frame.reformat(format="gray", src_color_range=1, dst_color_range=1).to_ndarray()) for frame in frames
    ]


def _timed(driver: CudaDriver, work: "Callable[[], Any]", pictures: int) -> tuple[Any, float]:
    """What comes out, and megapixels a second of the device until it is done."""
    driver.synchronise()
    began = time.perf_counter()
    made = work()
    driver.synchronise()
    return made, pictures * MEGAPIXELS / max(time.perf_counter() - began, 1e-9)
