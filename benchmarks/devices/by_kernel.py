"""The kernels themselves on batches that lie in the device's memory, and its copy bandwidth."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.devices.bench import Bench
from benchmarks.devices.gate import Luma
from benchmarks.devices.operations import BIN, TONE, Operation
from benchmarks.devices.request import Case
from service.pipeline.colormaps import colormap
from service.pipeline.cuda.faults import CudaUnavailable
from service.pipeline.cuda.stage import nv12_of_frame
from service.pipeline.planes import views

COPIED = 1 << 30
BATCH_BYTES = 512 << 20
"""Of sources: far more than a cache holds."""


@dataclass(frozen=True, slots=True)
class Launch:
    """`run` makes one batch of `frames`, from `bytes_in` to `bytes_out` in all, and `luma` are its first pictures."""

    run: Callable[[], None]
    frames: int
    bytes_in: int
    bytes_out: int
    luma: Callable[[], list[Luma]]


def copy(bench: Bench, blocks: int) -> None:
    device = _device(bench)
    import torch

    if "copied" not in bench.kept:
        bench.kept["copied"] = tuple(torch.ones(COPIED, dtype=torch.uint8, device=device) for _ in range(2))
    source, target = bench.kept["copied"]
    for _ in range(blocks):
        target.copy_(source)
    torch.cuda.synchronize()


def facts(bench: Bench, operation: Operation) -> tuple[int, int, int]:
    """(frames of a batch, bytes in and out of one frame)."""
    launch = _kept(bench, operation)
    return launch.frames, launch.bytes_in // launch.frames, launch.bytes_out // launch.frames


def transform(bench: Bench, operation: Operation, frames: int) -> None:
    """Whole batches; `frames` is a multiple of one."""
    import torch

    launch = _kept(bench, operation)
    for _ in range(frames // launch.frames):
        launch.run()
    torch.cuda.synchronize()


def compared(bench: Bench, operation: Operation) -> tuple[list[Luma], list[Luma]]:
    """What the kernel makes, and what its reference makes on the CPU."""
    both = _kept(bench, operation), prepared(bench, operation, "cpu", operation.bin)
    for launch in both:
        launch.run()
    seen, meant = (launch.luma()[:1] for launch in both)
    return seen, meant


def _kept(bench: Bench, operation: Operation) -> Launch:
    if bench.kept.get("launched") != operation:  # one batch at a time: they are large
        for large in ("launch", "copied"):
            bench.kept.pop(large, None)
        bench.kept["launched"] = operation
        bench.kept["launch"] = prepared(bench, operation, _device(bench), None)
    launch: Launch = bench.kept["launch"]
    return launch


def _device(bench: Bench) -> str:
    driver, torch = bench.driver(), sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        raise CudaUnavailable(f"{driver.device}: its driver is not torch's, which the kernels need")
    return driver.device


def prepared(bench: Bench, operation: Operation, device: str, count: int | None) -> Launch:
    """On "cpu" the reference runs. Of `count` source frames, or as many as are a good batch."""
    import torch

    sources = _sources(bench, operation)
    wanted = count or max(BATCH_BYTES // sources[0].nbytes // BIN * BIN, BIN)
    batch = torch.from_numpy(np.stack([sources[place % len(sources)] for place in range(wanted)])).to(device)
    wide, high = operation.case.canvas
    packed = torch.empty((wanted // operation.bin, high * 3 // 2, wide), dtype=torch.uint8, device=device)
    run = _launched(operation, batch, packed)
    into, out = batch.numel() * batch.element_size(), packed.numel()
    return Launch(run, wanted, into, out, lambda: list(packed[:, :high].cpu().numpy()))


def _sources(bench: Bench, operation: Operation) -> list[Any]:
    """(H, W) of uint16, (H*3/2, W) of NV12, or (H, W, 3) of R'G'B'."""
    size = operation.case.source
    if operation.kernel == "tone":
        return [np.ascontiguousarray(views(picture.frame)[0].view(np.uint16)) for picture in bench.deep(size)]
    if operation.kernel == "nv12_scale":
        return [nv12_of_frame(frame) for frame in bench.shown(Case(size, size))]
    return [picture.frame.to_ndarray(format="rgb24") for picture in bench.decoded(size)]


def _launched(operation: Operation, batch: Any, packed: Any) -> Callable[[], None]:
    import torch

    from kernels.geometry import Geometry
    from kernels.nv12 import Nv12
    from kernels.nv12_scale import nv12_scale
    from kernels.rgb_to_nv12 import rgb_to_nv12
    from kernels.temporal import NO_BINS, Bins
    from kernels.tone import Curve, Toned, tone

    geometry, out = Geometry((operation.case.size[1], operation.case.size[0])), Nv12.of(packed)
    if operation.kernel == "nv12_scale":
        frames = Nv12.of(batch)
        return lambda: _none(nv12_scale(frames, geometry, out=out))
    if operation.kernel == "tone":
        table = torch.tensor(colormap(TONE.colormap), device=batch.device)
        curve = Curve(TONE.low, TONE.high, TONE.gamma, table)
        toned = Toned(out, torch.empty((len(packed), 3), dtype=torch.int32, device=batch.device))
        return lambda: _none(tone(batch, geometry, curve, out=toned))
    planes = batch.permute(0, 3, 1, 2).contiguous()
    bins = NO_BINS if operation.kernel == "rgb_to_nv12" else Bins(BIN, operation.kernel)
    return lambda: _none(rgb_to_nv12(planes, geometry, bins=bins, out=out))


def _none(_: object) -> None: ...
