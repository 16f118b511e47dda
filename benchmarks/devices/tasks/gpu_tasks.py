"""GPU stages through the driver, in batches from one process. Data starts and ends in host memory, except for decode
alone.
"""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.devices.cases import PARITY_QUALITY, QUALITY, Case
from benchmarks.devices.parity import Luma
from benchmarks.devices.tasks.workbench import CACHED_PICTURES, MAX_PIXELS, Workbench
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import DeviceImage, EncoderSettings, Transfer, TransformSpec
from service.pipeline.cuda.encoder import DeviceEncoder
from service.pipeline.cuda.errors import CudaCallFailed, CudaError
from service.pipeline.frames import DevicePicture
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.plan.render_plan import Backend

BATCH_FRAMES = 32
NVENC = Backend("cuda", "nvenc")


def open_device(bench: Workbench) -> dict[str, str | None]:
    """Facts of the device, among them why it has no H.264 encoder (None: it has one). Raises CudaUnavailable."""
    driver = bench.driver()
    found: dict[str, str | None] = dict(driver.facts())
    try:
        driver.open_encoder(EncoderSettings("h264", 640, 480, Case((0, 0), (0, 0)).options().fps, 70, 6, 1, 13)).close()
        found["nvenc_unavailable_reason"] = None
    except CudaError as fault:
        found["nvenc_unavailable_reason"] = fault.reason
    return found | {"uuid": _device_uuid(driver.device)}


def _device_uuid(device: str) -> str | None:
    torch: Any = sys.modules.get("torch")  # loaded by the driver, if it is the real one
    if torch is None or not torch.cuda.is_available():
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid else None


def decode_jpegs(bench: Workbench, case: Case, frames: int) -> None:
    for batch in _batches(bench, case, frames):
        _decode_batch(bench, batch)
    bench.driver().synchronise()


def decode_and_transform(bench: Workbench, case: Case, frames: int) -> None:
    """Decode, transform, download."""
    _download_all(bench, case, (_decode_batch(bench, batch) for batch in _batches(bench, case, frames)))


def transform_cpu_decoded(bench: Workbench, case: Case, threads: int, frames: int) -> None:
    """Decode on CPU threads, upload as R'G'B', transform, download."""
    with ThreadPoolExecutor(threads) as pool:
        _download_all(bench, case, _upload_batches(bench, case, frames, pool))


def transformed_lumas(bench: Workbench, case: Case, count: int) -> list[Luma]:
    return _download_lumas(bench, case, _decode_batch(bench, bench.jpegs(case.source, count)))


def cpu_decoded_lumas(bench: Workbench, case: Case, count: int) -> list[Luma]:
    with ThreadPoolExecutor(1) as pool:
        return _download_lumas(bench, case, next(_upload_batches(bench, case, count, pool)))


def encoded_size(bench: Workbench, case: Case, on_device: bool, frames: int) -> int:
    """Bytes of an encoded segment; its pictures are in device memory, or else in host memory."""
    return len(encode_segment(bench, case, on_device, frames, QUALITY))


def encode_segment(bench: Workbench, case: Case, on_device: bool, frames: int, quality: int = PARITY_QUALITY) -> bytes:
    key = ("to encode", case, on_device)
    if key not in bench.cache:
        bench.cache[key] = _device_pictures(bench, case) if on_device else bench.output_frames(case)
    shown: Sequence[Any] = bench.cache[key]
    if not frames:
        return b""
    encoder = DeviceEncoder(case.options(NVENC, quality), IMAGE_COLOUR, bench.driver())
    try:
        for number in range(frames):
            encoder.add(shown[number % CACHED_PICTURES])
        return encoder.finish()
    finally:
        encoder.close()


def _device_pictures(bench: Workbench, case: Case) -> Sequence[DevicePicture]:
    return bench.driver().transform(
        _decode_batch(bench, bench.jpegs(case.source, CACHED_PICTURES)), _transform_spec(case)
    )


def _batches(bench: Workbench, case: Case, frames: int) -> Iterator[list[bytes]]:
    for start in range(0, frames, BATCH_FRAMES):
        yield bench.jpegs(case.source, min(BATCH_FRAMES, frames - start))


def _decode_batch(bench: Workbench, batch: Sequence[bytes]) -> list[DeviceImage]:
    images = bench.driver().decode_jpegs(batch)
    if refused := [image for image in images if isinstance(image, str)]:
        raise CudaCallFailed(f"{len(refused)} of {len(batch)} JPEGs were refused: {refused[0]}")
    return [image for image in images if not isinstance(image, str)]


def _upload_batches(
    bench: Workbench, case: Case, frames: int, pool: ThreadPoolExecutor
) -> Iterator[Sequence[DeviceImage]]:
    for batch in _batches(bench, case, frames):
        yield bench.driver().upload(list(pool.map(_decode_rgb, batch)))


def _decode_rgb(data: bytes) -> Any:
    """(H, W, 3) of uint8. Threads cannot share a decoder."""
    return ImageDecoder(DecodeOptions(MAX_PIXELS)).decode(data).frame.to_ndarray(format="rgb24")


def _transform_spec(case: Case) -> TransformSpec:
    return TransformSpec(case.size, case.canvas)


def _download_all(bench: Workbench, case: Case, batches: Iterator[Sequence[DeviceImage]]) -> None:
    """Overlap each download with the next batch, as a render does."""
    driver, pending = bench.driver(), None
    for images in batches:
        transfer: Transfer = driver.download(driver.transform(images, _transform_spec(case)))
        if pending is not None:
            pending.wait()
        pending = transfer
    if pending is not None:
        pending.wait()


def _download_lumas(bench: Workbench, case: Case, images: Sequence[DeviceImage]) -> list[Luma]:
    driver = bench.driver()
    found, _ = driver.download(driver.transform(images, _transform_spec(case))).wait()
    return [one[: case.canvas[1]].copy() for one in found]
