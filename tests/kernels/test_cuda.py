"""On a real device: whole frames of real sizes against the references, and no hidden copies."""

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
from kernels.tone import Curve, tone

CUDA = torch.device("cuda")
HD = (1080, 1920)
GEOMETRIES = {
    "whole": Geometry(),
    "half": Geometry((540, 960)),
    "quarter": Geometry((270, 480)),
    "any": Geometry((701, 1234)),
    "cropped and turned": Geometry((333, 201), CropBox(100, 102, 604, 1002), 90),
    "turned over": Geometry((540, 960), rotation=180),
    "on its side": Geometry((1280, 720), rotation=270),
}


def random(*shape: int, below: int = 256) -> torch.Tensor:
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)


def psnr(actual: torch.Tensor, expected: torch.Tensor) -> float:
    error = (actual.cpu().double() - expected.double()).square().mean()
    return float(10 * torch.log10(255**2 / error.clamp(min=1e-9)))


def assert_alike(actual: Nv12, expected: Nv12) -> None:
    """The design asks for 45 dB; one level of difference at exact halves leaves far more."""
    for a, b in zip(actual, expected, strict=True):
        assert (a.cpu().int() - b.int()).abs().max() <= 1
        assert psnr(a, b) >= 60


@pytest.mark.cuda
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("bins", [Bins(), Bins(2, "mean"), Bins(2, "max")], ids=str)
def test_rgb_to_nv12(geometry: str, bins: Bins) -> None:
    frames = random(3, 3, *HD).to(torch.uint8)
    arguments: dict[str, Any] = {"colour": Colour("bt709"), "bins": bins}
    actual = rgb_to_nv12(frames.to(CUDA), GEOMETRIES[geometry], **arguments)
    assert_alike(actual, rgb_to_nv12(frames, GEOMETRIES[geometry], **arguments))


@pytest.mark.cuda
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("bins", [Bins(), Bins(2, "mean"), Bins(2, "max")], ids=str)
def test_nv12_scale(geometry: str, bins: Bins) -> None:
    packed = random(3, HD[0] * 3 // 2, HD[1]).to(torch.uint8)
    actual = nv12_scale(Nv12.from_packed(packed.to(CUDA)), GEOMETRIES[geometry], to_limited_range=True, bins=bins)
    assert_alike(actual, nv12_scale(Nv12.from_packed(packed), GEOMETRIES[geometry], to_limited_range=True, bins=bins))


@pytest.mark.cuda
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("gamma", [1.0, 0.45])
@pytest.mark.parametrize("bins", [Bins(), Bins(2, "mean"), Bins(2, "max")], ids=str)
def test_tone(geometry: str, gamma: float, bins: Bins) -> None:
    frames = random(3, *HD, below=4096).to(torch.uint16)
    table = torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 3).contiguous()
    actual = tone(frames.to(CUDA), GEOMETRIES[geometry], Curve(200, 3000, gamma, table.to(CUDA)), bins=bins)
    expected = tone(frames, GEOMETRIES[geometry], Curve(200, 3000, gamma, table), bins=bins)
    assert_alike(actual.picture, expected.picture)
    assert actual.clipped.tolist() == expected.clipped.tolist()


@pytest.mark.cuda
@pytest.mark.parametrize(
    "call",
    [
        lambda: rgb_to_nv12(
            random(1, 3, 4, 4).to(torch.uint8).to(CUDA), Geometry(), out=allocate(1, (4, 4), torch.device("cpu"))
        ),
        lambda: tone(
            random(1, 4, 4).float().to(CUDA), Geometry(), Curve(0, 1, lut=torch.zeros((256, 3), dtype=torch.uint8))
        ),
    ],
)
def test_what_is_on_another_device_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is on cpu"):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_missing_device_can_be_made_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_FAIL_WITHOUT_CUDA", "1")
    command = [
        sys.executable,
        "-m",
        "pytest",
        __file__,
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "test_what_is_on_another",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "2 error" in done.stdout.splitlines()[-1]
    assert "needs CUDA" in done.stdout
