"""Arguments that do not fit raise a ValueError that names them, before anything runs."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernels.colour import Colour
from kernels.geometry import CropBox, Geometry
from kernels.nv12 import Nv12, allocate
from kernels.nv12_scale import nv12_scale
from kernels.rgb_to_nv12 import rgb_to_nv12
from kernels.temporal import Bins
from kernels.tone import Curve, ToneResult, tone

CPU, META = torch.device("cpu"), torch.device("meta")
RGB = torch.zeros((2, 3, 4, 6), dtype=torch.uint8)
GRAY = torch.zeros((2, 4, 6), dtype=torch.float32)
NV12 = allocate(2, (4, 6), CPU)
WINDOW = Curve(0, 1)


def curve_with_lut(*shape: int, dtype: torch.dtype = torch.uint8) -> Curve:
    return Curve(0, 1, lut=torch.zeros(shape, dtype=dtype))


def tone_result(picture: Nv12, *shape: int, dtype: torch.dtype = torch.int32) -> ToneResult:
    return ToneResult(picture, torch.zeros(shape, dtype=dtype))


REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "another type": ("frames must be of uint8", lambda: rgb_to_nv12(RGB.float(), Geometry())),
    "another shape": (r"frames must be \(N, 3, H, W\)", lambda: rgb_to_nv12(RGB[:, :2], Geometry())),
    "an axis too few": (r"frames must be \(N, 3, H, W\)", lambda: rgb_to_nv12(RGB[0], Geometry())),
    "no frame": ("not empty", lambda: rgb_to_nv12(RGB[:0], Geometry())),
    "another kind of device": ("frames is on meta", lambda: rgb_to_nv12(RGB.to(META), Geometry())),
    "too many frames": ("65535 frames", lambda: rgb_to_nv12(RGB[:1].expand(65536, 3, 4, 6), Geometry())),
    "a side too long": ("longer than 32767", lambda: rgb_to_nv12(RGB[:, :, :1, :1].expand(2, 3, 1, 32768), Geometry())),
    "a frame too large": ("over 2147483647", lambda: rgb_to_nv12(torch.empty(2**32, dtype=torch.uint8, device=META).as_strided((1, 3, 2, 2), (0, 0, 2**31, 1)), Geometry())),
    "growing": (r"size \(4, 7\)", lambda: rgb_to_nv12(RGB, Geometry((4, 7)))),
    "growing when turned": (r"size \(4, 6\)", lambda: rgb_to_nv12(RGB, Geometry((4, 6), rotation=90))),
    "nothing left": (r"size \(0, 2\)", lambda: rgb_to_nv12(RGB, Geometry((0, 2)))),
    "crop outside": ("crop", lambda: rgb_to_nv12(RGB, Geometry(crop=CropBox(0, 3, 4, 4)))),
    "crop before": ("crop", lambda: rgb_to_nv12(RGB, Geometry(crop=CropBox(-1, 0, 4, 4)))),
    "a turn between": ("rotation must be", lambda: Geometry(rotation=45)),  # type: ignore[arg-type]
    "an unknown matrix": ("matrix must be", lambda: Colour("bt2020")),  # type: ignore[arg-type]
    "bins of none": ("bins.frames", lambda: Bins(0)),
    "an unknown bin": ("bins.mode", lambda: Bins(2, "median")),  # type: ignore[arg-type]
    "out of another size": (r"out.luma must be \(2, 4, 6\)", lambda: rgb_to_nv12(RGB, Geometry(), out=allocate(2, (4, 4), CPU))),
    "out of another count": (r"out.luma must be \(1, 4, 6\)", lambda: rgb_to_nv12(RGB, Geometry(), bins=Bins(2), out=NV12)),
    "out elsewhere": ("out.luma is on meta", lambda: nv12_on_meta(lambda out: rgb_to_nv12(RGB, Geometry(), out=out))),
    "out with spread samples": ("out must have rows", lambda: rgb_to_nv12(RGB, Geometry(), out=Nv12(torch.zeros((2, 4, 12), dtype=torch.uint8)[..., ::2], NV12.chroma))),
    "planes that differ": ("frames.chroma must be", lambda: nv12_scale(Nv12(NV12.luma, NV12.chroma[:, :1]), Geometry())),
    "planes apart": ("frames.chroma is on meta", lambda: nv12_scale(Nv12(NV12.luma, NV12.chroma.to(META)), Geometry())),
    "planar chroma": ("next to each other", lambda: nv12_scale(Nv12(NV12.luma, torch.zeros((2, 2, 2, 3), dtype=torch.uint8).movedim(1, 3)), Geometry())),
    "an odd crop": ("must be even", lambda: nv12_scale(NV12, Geometry(crop=CropBox(1, 0, 2, 2)))),
    "no NV12": ("packed must be", lambda: Nv12.from_packed(torch.zeros((1, 4, 4), dtype=torch.uint8))),
    "an empty window": ("curve.low and curve.high", lambda: Curve(1, 1)),
    "a window without end": ("curve.low and curve.high", lambda: Curve(0, float("inf"))),
    "a gamma of zero": ("curve.gamma", lambda: Curve(0, 1, gamma=0)),
    "doubles": ("frames must be of uint8 or uint16 or float32", lambda: tone(GRAY.double(), Geometry(), WINDOW)),
    "a table of 100": ("curve.lut must be", lambda: tone(GRAY, Geometry(), curve_with_lut(100, 3))),
    "a table of floats": ("curve.lut must be of uint8", lambda: tone(GRAY, Geometry(), curve_with_lut(256, 3, dtype=torch.float32))),
    "a table for colour": ("curve.lut colours gray", lambda: tone(RGB, Geometry(), curve_with_lut(256, 3))),
    "a table elsewhere": ("curve.lut is on meta", lambda: tone(GRAY, Geometry(), Curve(0, 1, lut=torch.zeros((256, 3), dtype=torch.uint8, device=META)))),
    "counters of another shape": ("out.clipped must be", lambda: tone(GRAY, Geometry(), WINDOW, out=tone_result(NV12, 3, 2))),
    "counters of another type": ("out.clipped must be of int32", lambda: tone(GRAY, Geometry(), WINDOW, out=tone_result(NV12, 2, 3, dtype=torch.int64))),
}  # fmt: skip


def nv12_on_meta(call: Callable[[Nv12], Any]) -> None:
    call(Nv12(NV12.luma.to(META), NV12.chroma.to(META)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    message, call = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_out_is_what_is_returned() -> None:
    out = allocate(2, (4, 6), CPU)
    assert rgb_to_nv12(RGB, Geometry(), out=out) is out
    assert nv12_scale(NV12, Geometry(), out=out) is out


def test_new_planes_are_one_packed_block() -> None:
    """So an encoder or a download takes them as one block."""
    result = rgb_to_nv12(RGB, Geometry((3, 5)))
    assert result.size == (4, 6)
    assert result.chroma.data_ptr() - result.luma.data_ptr() == 4 * 6
    assert result.luma.stride() == (36, 6, 1)


IMPORTS = """
import sys
sys.modules["torch"] = sys.modules["triton"] = None  # importing either now fails
import kernels, kernels.rgb_to_nv12, kernels.nv12_scale, kernels.tone, kernels.temporal, kernels.area
kernels.rgb_to_nv12.Geometry((2, 2)).output_size(4, 4)
"""

ONLY_TORCH = """
import sys
sys.modules["triton"] = sys.modules["numpy"] = None
import torch
from kernels.rgb_to_nv12 import rgb_to_nv12, Geometry
from kernels.tone import Curve, tone
assert rgb_to_nv12(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), Geometry((2, 2))).size == (2, 2)
assert tone(torch.zeros((1, 4, 4)), Geometry(), Curve(0, 1)).picture.size == (4, 4)
"""


@pytest.mark.parametrize("code", [IMPORTS, ONLY_TORCH], ids=["no torch", "no triton"])
def test_what_an_import_needs(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
