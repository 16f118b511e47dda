"""The device's stages through its driver, a batch at a time, from one process. Bytes begin and end in host memory, but
for decode alone, whose pictures stay on the device."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.devices.bench import KEPT, Bench
from benchmarks.devices.gate import Luma
from benchmarks.devices.request import PLAIN_QUALITY, QUALITY, Case
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import DeviceImage, DevicePicture, EncoderSettings, Shaping, Transfer
from service.pipeline.cuda.encode import DeviceEncoder
from service.pipeline.cuda.faults import CudaFailed, CudaFault
from service.plan.render_plan import Backend

BATCH = 32
NVENC = Backend("cuda", "nvenc")


def opened(bench: Bench) -> dict[str, str | None]:
    """Facts of the device, and why it has no H.264 encoder (None: it has one). Raises CudaUnavailable."""
    driver = bench.driver()
    found: dict[str, str | None] = dict(driver.facts())
    try:
        driver.open_encoder(
            EncoderSettings("h264", 640, 480, Case((0, 0), (0, 0)).options().fps, 70, (6, 1, 13))
        ).close()
        found["no_nvenc"] = None
    except CudaFault as fault:
        found["no_nvenc"] = fault.reason
    return found | {"uuid": _uuid(driver.device)}


def _uuid(device: str) -> str | None:
    torch: Any = sys.modules.get("torch")  # loaded by the driver, if it is the real one
    if torch is None or not torch.cuda.is_available():
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid else None


def decode(bench: Bench, case: Case, frames: int) -> None:
    for batch in _batches(bench, case, frames):
        _images(bench, batch)
    bench.driver().synchronise()


def chain(bench: Bench, case: Case, frames: int) -> None:
    """Decode, shape, download."""
    _downloaded(bench, case, (_images(bench, batch) for batch in _batches(bench, case, frames)))


def mixed(bench: Bench, case: Case, threads: int, frames: int) -> None:
    """Decoded by threads of the CPU, uploaded as R'G'B', shaped, downloaded."""
    with ThreadPoolExecutor(threads) as pool:
        _downloaded(bench, case, _uploads(bench, case, frames, pool))


def chained(bench: Bench, case: Case, count: int) -> list[Luma]:
    return _lumas(bench, case, _images(bench, bench.jpegs(case.source, count)))


def mixed_lumas(bench: Bench, case: Case, count: int) -> list[Luma]:
    with ThreadPoolExecutor(1) as pool:
        return _lumas(bench, case, next(_uploads(bench, case, count, pool)))


def encode(bench: Bench, case: Case, on_device: bool, frames: int) -> int:
    """Bytes of a segment of pictures from the device's memory, or from the host's."""
    return len(encoded(bench, case, on_device, frames, QUALITY))


def encoded(bench: Bench, case: Case, on_device: bool, frames: int, quality: int = PLAIN_QUALITY) -> bytes:
    key = ("to encode", case, on_device)
    if key not in bench.kept:
        bench.kept[key] = _pictures(bench, case) if on_device else bench.shown(case)
    shown: Sequence[Any] = bench.kept[key]
    if not frames:
        return b""
    encoder = DeviceEncoder(case.options(NVENC, quality), IMAGE_COLOUR, bench.driver())
    try:
        for number in range(frames):
            encoder.add(shown[number % KEPT])
        return encoder.finish()
    finally:
        encoder.close()


def _pictures(bench: Bench, case: Case) -> Sequence[DevicePicture]:
    return bench.driver().shape(_images(bench, bench.jpegs(case.source, KEPT)), _shaping(case))


def _batches(bench: Bench, case: Case, frames: int) -> Iterator[list[bytes]]:
    for start in range(0, frames, BATCH):
        yield bench.jpegs(case.source, min(BATCH, frames - start))


def _images(bench: Bench, batch: Sequence[bytes]) -> list[DeviceImage]:
    images = bench.driver().decode_jpegs(batch)
    if refused := [image for image in images if isinstance(image, str)]:
        raise CudaFailed(f"{len(refused)} of {len(batch)} JPEGs were refused: {refused[0]}")
    return [image for image in images if not isinstance(image, str)]


def _uploads(bench: Bench, case: Case, frames: int, pool: ThreadPoolExecutor) -> Iterator[Sequence[DeviceImage]]:
    for batch in _batches(bench, case, frames):
        yield bench.driver().upload(list(pool.map(_rgb, batch)))


def _rgb(data: bytes) -> Any:
    """(H, W, 3); a decoder of its own, for threads cannot share one."""
    from benchmarks.devices.bench import MAX_PIXELS
    from service.pipeline.decode import ImageDecoder

    return ImageDecoder(MAX_PIXELS).decode(data).frame.to_ndarray(format="rgb24")


def _shaping(case: Case) -> Shaping:
    return Shaping(case.size, case.canvas)


def _downloaded(bench: Bench, case: Case, batches: Iterator[Sequence[DeviceImage]]) -> None:
    """One download is waited for while the next batch is made, as in a render."""
    driver, under_way = bench.driver(), None
    for images in batches:
        begun: Transfer = driver.download(driver.shape(images, _shaping(case)))
        if under_way is not None:
            under_way.wait()
        under_way = begun
    if under_way is not None:
        under_way.wait()


def _lumas(bench: Bench, case: Case, images: Sequence[DeviceImage]) -> list[Luma]:
    driver = bench.driver()
    found, _ = driver.download(driver.shape(images, _shaping(case))).wait()
    return [one[: case.canvas[1]].copy() for one in found]
