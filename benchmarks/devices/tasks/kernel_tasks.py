"""The kernels on batches in device memory, and the device's copy bandwidth."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.devices.cases import BIN_FRAMES, CAMERA_TONE, Case, Operation
from benchmarks.devices.parity import Luma
from benchmarks.devices.tasks.workbench import Workbench
from service.pipeline.cuda.device_frame import frame_to_nv12
from service.pipeline.cuda.errors import CudaUnavailable
from service.pipeline.planes import plane_views
from service.pipeline.tone.colormaps import colormap

COPY_BYTES = 1 << 30
# Source bytes of a batch: far more than a cache holds.
BATCH_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Launch:
    """`run` processes a batch of `frames` (`bytes_in` and `bytes_out` in all); `luma` downloads its output."""

    run: Callable[[], None]
    frames: int
    bytes_in: int
    bytes_out: int
    luma: Callable[[], list[Luma]]


def copy_blocks(bench: Workbench, blocks: int) -> None:
    device = _cuda_device(bench)
    import torch

    if "copied" not in bench.cache:
        bench.cache["copied"] = tuple(torch.ones(COPY_BYTES, dtype=torch.uint8, device=device) for _ in range(2))
    source, target = bench.cache["copied"]
    for _ in range(blocks):
        target.copy_(source)
    torch.cuda.synchronize()


def launch_facts(bench: Workbench, operation: Operation) -> tuple[int, int, int]:
    """(frames per batch, bytes in per frame, bytes out per frame)."""
    launch = _cached_launch(bench, operation)
    return launch.frames, launch.bytes_in // launch.frames, launch.bytes_out // launch.frames


def run_kernel(bench: Workbench, operation: Operation, frames: int) -> None:
    """Whole batches; `frames` is a multiple of one."""
    import torch

    launch = _cached_launch(bench, operation)
    for _ in range(frames // launch.frames):
        launch.run()
    torch.cuda.synchronize()


def kernel_and_reference_lumas(bench: Workbench, operation: Operation) -> tuple[list[Luma], list[Luma]]:
    """First output picture of the kernel, and of its reference on the CPU."""
    both = _cached_launch(bench, operation), prepare_launch(bench, operation, "cpu", operation.bin)
    for launch in both:
        launch.run()
    actual, expected = (launch.luma()[:1] for launch in both)
    return actual, expected


def _cached_launch(bench: Workbench, operation: Operation) -> Launch:
    if bench.cache.get("launched") != operation:  # keep one batch only: they are large
        for large in ("launch", "copied"):
            bench.cache.pop(large, None)
        bench.cache["launched"] = operation
        bench.cache["launch"] = prepare_launch(bench, operation, _cuda_device(bench), None)
    launch: Launch = bench.cache["launch"]
    return launch


def _cuda_device(bench: Workbench) -> str:
    driver, torch = bench.driver(), sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        raise CudaUnavailable(f"{driver.device}: the kernels need the torch driver")
    return driver.device


def prepare_launch(bench: Workbench, operation: Operation, device: str, count: int | None) -> Launch:
    """A batch of `count` source frames (None: BATCH_BYTES) on `device`; on "cpu" the reference runs."""
    import torch

    sources = _source_arrays(bench, operation)
    frames = count or max(BATCH_BYTES // sources[0].nbytes // BIN_FRAMES * BIN_FRAMES, BIN_FRAMES)
    batch = torch.from_numpy(np.stack([sources[place % len(sources)] for place in range(frames)])).to(device)
    wide, high = operation.case.canvas
    packed = torch.empty((frames // operation.bin, high * 3 // 2, wide), dtype=torch.uint8, device=device)
    run = _kernel_call(operation, batch, packed)
    into, out = batch.numel() * batch.element_size(), packed.numel()
    return Launch(run, frames, into, out, lambda: list(packed[:, :high].cpu().numpy()))


def _source_arrays(bench: Workbench, operation: Operation) -> list[Any]:
    """(H, W) of uint16, (H*3/2, W) of NV12, or (H, W, 3) of R'G'B'."""
    size = operation.case.source
    if operation.kernel == "tone":
        return [
            np.ascontiguousarray(plane_views(picture.frame)[0].view(np.uint16)) for picture in bench.deep_pictures(size)
        ]
    if operation.kernel == "nv12_scale":
        return [frame_to_nv12(frame) for frame in bench.output_frames(Case(size, size))]
    return [picture.frame.to_ndarray(format="rgb24") for picture in bench.decoded_pictures(size)]


def _kernel_call(operation: Operation, batch: Any, packed: Any) -> Callable[[], None]:
    import torch

    from kernels.geometry import Geometry
    from kernels.nv12 import Nv12
    from kernels.nv12_scale import nv12_scale
    from kernels.rgb_to_nv12 import rgb_to_nv12
    from kernels.temporal import NO_BINS, Bins
    from kernels.tone import Curve, ToneResult, tone

    geometry, out = Geometry((operation.case.size[1], operation.case.size[0])), Nv12.from_packed(packed)
    if operation.kernel == "nv12_scale":
        frames = Nv12.from_packed(batch)
        return lambda: _discard(nv12_scale(frames, geometry, out=out))
    if operation.kernel == "tone":
        table = torch.tensor(colormap(CAMERA_TONE.colormap), device=batch.device)
        curve = Curve(CAMERA_TONE.low, CAMERA_TONE.high, CAMERA_TONE.gamma, table)
        toned = ToneResult(out, torch.empty((len(packed), 3), dtype=torch.int32, device=batch.device))
        return lambda: _discard(tone(batch, geometry, curve, out=toned))
    planes = batch.permute(0, 3, 1, 2).contiguous()
    bins = NO_BINS if operation.kernel == "rgb_to_nv12" else Bins(BIN_FRAMES, operation.kernel)
    return lambda: _discard(rgb_to_nv12(planes, geometry, bins=bins, out=out))


def _discard(_: object) -> None: ...
