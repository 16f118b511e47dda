"""Canaries of a CUDA device: its driver processes known pictures, and the CPU checks the output."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from av import CodecContext, Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext

from service.devices.canary import DeviceUnusable, Unsupported, WrongOutput
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import (
    CudaDriver,
    DeviceImage,
    EncodedPicture,
    EncoderSettings,
    TransformSpec,
    VideoCodec,
    load_driver,
)
from service.pipeline.cuda.errors import CudaUnavailable, CudaUnsupported, DeviceLost
from service.pipeline.encode.codecs import silence_svt_log
from service.pipeline.native_libraries import reset_scheduler
from service.worker.devices import canary_pictures as known
from service.worker.devices.canary_pictures import DECODED_FRAMES, FRAME_MEGAPIXELS

BATCH_IMAGES, CODED_FRAMES = 24, 18
FULL_SIZE = (known.WIDTH, known.HEIGHT)
HALF_SIZE = (known.WIDTH // 2, known.HEIGHT // 2)
# Without reordering, so that each packet is one frame.
REFERENCE_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "bf": "0"}),
    "hevc": ("libx265", {"preset": "ultrafast", "bf": "0", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
    "av1": ("libsvtav1", {"preset": "10", "svtav1-params": "lp=1:pred-struct=1"}),
}
REFERENCE_DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}
open_driver = functools.cache(load_driver)


def prepare(device: str) -> None:
    """Load the libraries and open the context before the time of a canary is taken."""
    with translate_driver_faults():
        open_driver(device)


@contextmanager
def translate_driver_faults() -> Iterator[None]:
    """Raise what an error of the driver means for a canary. Other errors, such as out of memory, pass unchanged."""
    try:
        yield
    except (CudaUnavailable, CudaUnsupported) as fault:
        raise Unsupported(fault.reason) from fault
    except DeviceLost as fault:
        raise DeviceUnusable(fault.reason) from fault


def decode_jpeg(device: str) -> float:
    files = [known.jpeg(known.picture(number % DECODED_FRAMES)) for number in range(BATCH_IMAGES)]
    with translate_driver_faults():
        driver = open_driver(device)
        driver.decode_jpegs(files[:1])  # the first call sets up a session

        def decode_files() -> Sequence[DeviceImage]:
            images = driver.decode_jpegs(files)
            if refused := [image for image in images if isinstance(image, str)]:
                raise WrongOutput(f"{len(refused)} of {BATCH_IMAGES} images refused: {refused[0]}")
            return [image for image in images if not isinstance(image, str)]

        images, rate = _measure_rate(driver, decode_files, BATCH_IMAGES)
        known.require_frames(_download_luma(driver, images, FULL_SIZE), BATCH_IMAGES, 36)
    return rate


def transform_nv12(device: str) -> float:
    """Scale to half the size; the expected pixels are means of four."""
    with translate_driver_faults():
        driver = open_driver(device)
        images = driver.upload([known.picture(number % DECODED_FRAMES) for number in range(BATCH_IMAGES)])
        driver.transform(images, TransformSpec(HALF_SIZE, HALF_SIZE))  # compiles
        pictures, rate = _measure_rate(
            driver, lambda: driver.transform(images, TransformSpec(HALF_SIZE, HALF_SIZE)), BATCH_IMAGES
        )
        downloaded, _ = driver.download(pictures).wait()
    if len(downloaded) != BATCH_IMAGES:
        raise WrongOutput(f"{len(downloaded)} frames instead of {BATCH_IMAGES}")
    for number, picture in enumerate(downloaded):
        halved = known.luma(number % DECODED_FRAMES).reshape(HALF_SIZE[1], 2, HALF_SIZE[0], 2).mean(axis=(1, 3))
        known.require_similar(known.to_full_range(picture[: HALF_SIZE[1]]), halved, 40)
    return rate


def decode_h264(device: str) -> float:
    return _check_decoder(device, "h264")


def decode_hevc(device: str) -> float:
    return _check_decoder(device, "hevc")


def decode_av1(device: str) -> float:
    return _check_decoder(device, "av1")


def encode_h264(device: str) -> float:
    return _check_encoder(device, "h264")


def encode_hevc(device: str) -> float:
    return _check_encoder(device, "hevc")


def encode_av1(device: str) -> float:
    return _check_encoder(device, "av1")


def _check_decoder(device: str, codec: VideoCodec) -> float:
    packets = _encode_packets(codec)
    with translate_driver_faults():
        driver = open_driver(device)
        feed = driver.open_decoder(codec)

        def decode_files() -> list[tuple[int, DeviceImage]]:
            shown = [image for pts, packet in enumerate(packets) for image in feed.decode(packet, pts)]
            return [*shown, *feed.finish()]

        shown, rate = _measure_rate(driver, decode_files, CODED_FRAMES)
        if [pts for pts, _ in shown] != list(range(CODED_FRAMES)):
            raise WrongOutput(f"{len(shown)} frames out of order, or not {CODED_FRAMES}")
        known.require_frames(_download_luma(driver, [image for _, image in shown], FULL_SIZE), CODED_FRAMES, 34)
        feed.close()
    return rate


def _check_encoder(device: str, codec: VideoCodec) -> float:
    colour = IMAGE_COLOUR
    with translate_driver_faults():
        driver = open_driver(device)
        session = driver.open_encoder(
            EncoderSettings(codec, *FULL_SIZE, Fraction(30), 80, colour.matrix, colour.primaries, colour.transfer)
        )
        frames = [
            known.yuv(number % DECODED_FRAMES).reformat(format="nv12").to_ndarray().astype(np.uint8)
            for number in range(CODED_FRAMES)
        ]

        def encode_frames() -> list[EncodedPicture]:
            return [*(part for frame in frames for part in session.encode(frame)), *session.finish()]

        parts, rate = _measure_rate(driver, encode_frames, CODED_FRAMES)
        head = session.parameters()
        session.close()
    known.require_frames(_decode_packets(codec, head, [part.data for part in parts]), CODED_FRAMES, 34)
    return rate


def _download_luma(
    driver: CudaDriver, images: Sequence[DeviceImage], size: tuple[int, int]
) -> "list[np.ndarray[Any, Any]]":
    downloaded, _ = driver.download(driver.transform(images, TransformSpec(size, size))).wait()
    return [known.to_full_range(picture[: size[1]]) for picture in downloaded]


def _encode_packets(codec: VideoCodec) -> list[bytes]:
    """Encode the known pictures with FFmpeg: one packet per frame (Annex B; AV1: temporal units), in display order."""
    encoder, options = REFERENCE_ENCODERS[codec]
    context = CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = *FULL_SIZE, "yuv420p"
    context.time_base, context.framerate, context.thread_count = Fraction(1, 30), Fraction(30), 1
    context.options = {"crf": "16", **options}
    silence_svt_log()
    context.open()
    reset_scheduler()
    packets = []
    for number in range(CODED_FRAMES):
        frame = known.yuv(number % DECODED_FRAMES)
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(packet) for packet in (*packets, *context.encode(None))]


def _decode_packets(codec: VideoCodec, parameter_sets: bytes, packets: Sequence[bytes]) -> "list[np.ndarray[Any, Any]]":
    """Full-range luma of the frames, decoded by FFmpeg. The parameter sets may also be in the first packet."""
    context = CodecContext.create(REFERENCE_DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    whole = [parameter_sets + packets[0], *packets[1:]] if packets else []
    frames: list[VideoFrame] = [frame for part in whole for frame in context.decode(Packet(part))]
    frames += context.decode(None)
    return [
        known.to_full_range(frame.reformat(format="gray", src_color_range=1, dst_color_range=1).to_ndarray())
        for frame in frames
    ]


def _measure_rate(driver: CudaDriver, work: "Callable[[], Any]", frames: int) -> tuple[Any, float]:
    """The result, and the rate of the device in megapixels per second until all work is done."""
    driver.synchronise()
    started_at = time.perf_counter()
    result = work()
    driver.synchronise()
    return result, frames * FRAME_MEGAPIXELS / max(time.perf_counter() - started_at, 1e-9)
