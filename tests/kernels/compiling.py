"""Compiles every kernel for the given architectures, without a GPU, and prints its resource usage as JSON.

    python -m tests.kernels.compiling 80 90 100

The kernels go through Triton's own just-in-time path (argument binding, specialisation, ptxas), with a driver that
only names the architecture; tests/kernels/test_compiled.py compares the figures with kernels/registers.json.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12, allocate
from kernels.nv12_scale import gpu as nv12_scale
from kernels.rgb_to_nv12 import gpu as rgb_to_nv12
from kernels.temporal import NO_BINS, Bins
from kernels.tone import Curve, ToneResult
from kernels.tone import gpu as tone

HD, UHD = (1080, 1920), (2160, 3840)
CPU = torch.device("cpu")
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"

Case = tuple[str, Any, dict[str, Any]]


class ArchitectureDriver:
    """A driver for compiling: it only has an architecture."""

    def __init__(self, architecture: int) -> None:
        self._target = GPUTarget("cuda", architecture, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        """Unique for each architecture, because Triton caches compiled kernels by device."""
        return int(self._target.arch)

    def get_current_stream(self, device: int) -> int:
        return 0


def rgb_case(
    name: str, frame: tuple[int, int], size: tuple[int, int] | None, turn: Any = 0, bins: Bins = NO_BINS
) -> Case:
    frames = torch.empty((4, 3, *frame), dtype=torch.uint8)
    geometry = Geometry(size, rotation=turn)
    out = allocate(bins.count(4), geometry.output_size(*frame), CPU)
    return f"rgb_to_nv12 {name}", rgb_to_nv12.kernel, rgb_to_nv12.launch(frames, out, geometry, Colour(), bins)[1]


def nv12_case(
    name: str, frame: tuple[int, int], size: tuple[int, int] | None, turn: Any = 0, bins: Bins = NO_BINS
) -> Case:
    geometry = Geometry(size, rotation=turn)
    out = allocate(bins.count(4), geometry.output_size(*frame), CPU)
    arguments = nv12_scale.launch(allocate(4, frame, CPU), out, geometry, False, bins)[1]
    return f"nv12_scale {name}", nv12_scale.kernel, arguments


def tone_case(
    name: str, frames: torch.Tensor, size: tuple[int, int] | None, bins: Bins = NO_BINS, **curve: Any
) -> Case:
    geometry, count = Geometry(size), bins.count(4)
    picture: Nv12 = allocate(count, geometry.output_size(*frames.shape[-2:]), CPU)
    out = ToneResult(picture, torch.empty((count, 3), dtype=torch.int32))
    arguments = tone.launch(frames, out, geometry, Curve(0.0, 4095.0, **curve), bins)[1]
    return f"tone {name}", tone.kernel, arguments


def empty_samples(*shape: int, dtype: torch.dtype = torch.uint16) -> torch.Tensor:
    return torch.empty((4, *shape), dtype=dtype)


def cases() -> Iterator[Case]:
    lut = torch.empty((256, 3), dtype=torch.uint8)
    yield rgb_case("whole", HD, None)
    yield rgb_case("half", HD, (540, 960))
    yield rgb_case("quarter", UHD, (540, 960))
    yield rgb_case("any", HD, (720, 1280))
    yield rgb_case("odd", (551, 677), (301, 333))
    yield rgb_case("turned 90", HD, None, 90)
    yield rgb_case("mean half", HD, (540, 960), bins=Bins(4))
    yield rgb_case("max half", HD, (540, 960), bins=Bins(4, "max"))
    yield rgb_case("pixel", (1, 1), None)
    yield rgb_case("row any", (1, 9), (1, 5), bins=Bins(2))
    yield nv12_case("pixel", (2, 2), (1, 1))
    yield nv12_case("row any", (2, 10), (1, 5), bins=Bins(2, "max"))
    yield tone_case("pixel", empty_samples(1, 1, dtype=torch.float32), None)
    yield tone_case("R'G'B' row any", empty_samples(3, 1, 9), (1, 5))
    yield nv12_case("whole", HD, None)
    yield nv12_case("half", HD, (540, 960))
    yield nv12_case("quarter", UHD, (540, 960))
    yield nv12_case("any", HD, (720, 1280))
    yield nv12_case("turned 270 any", HD, (1280, 720), 270)
    yield nv12_case("mean half", HD, (540, 960), bins=Bins(4))
    yield nv12_case("max any", HD, (720, 1280), bins=Bins(4, "max"))
    yield tone_case("uint16 whole", empty_samples(*HD), None)
    yield tone_case("uint16 colormap whole", empty_samples(*HD), None, lut=lut)
    yield tone_case("uint16 colormap half", empty_samples(*HD), (540, 960), gamma=0.5, lut=lut)
    yield tone_case("float32 any", empty_samples(*HD, dtype=torch.float32), (720, 1280), gamma=0.5)
    yield tone_case("uint16 R'G'B' any", empty_samples(3, *HD), (720, 1280))
    yield tone_case("uint16 mean whole", empty_samples(*HD), None, Bins(4))
    yield tone_case("uint16 mean colormap half", empty_samples(*HD), (540, 960), Bins(4), lut=lut)
    yield tone_case("float32 max any", empty_samples(*HD, dtype=torch.float32), (720, 1280), Bins(4, "max"))
    yield tone_case("float32 tall", empty_samples(8192, 512, dtype=torch.float32), (4, 256))


def resource_usage(cubin: bytes) -> dict[str, int]:
    """Registers per thread, and bytes of local memory: spills and stack."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run(
            [CUOBJDUMP, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", usage.stdout)[1]) for name in ("REG", "STACK", "LOCAL"))  # type: ignore[index]
    return {"registers": registers, "local_bytes": stack + local}


def report(architecture: int) -> dict[str, dict[str, int]]:
    driver.set_active(ArchitectureDriver(architecture))
    rows = {}
    for name, kernel, arguments in cases():
        compiled = kernel.warmup(grid=(1,), **arguments)
        rows[name] = resource_usage(compiled.asm["cubin"]) | {
            "shared_bytes": compiled.metadata.shared,
            "threads": 32 * compiled.metadata.num_warps,
            "widest_load": max(map(_load_width, re.findall(r"ld\.global\S*", compiled.asm["ptx"]))),
        }
    return rows


def _load_width(load: str) -> int:
    """Bytes of a PTX load such as ld.global.v4.b32."""
    lanes = re.search(r"\.v(\d)", load)
    return (int(lanes[1]) if lanes else 1) * int(re.search(r"\.[busf](\d+)$", load)[1]) // 8  # type: ignore[index]


if __name__ == "__main__":
    print(json.dumps({name: report(int(name)) for name in sys.argv[1:]}))
