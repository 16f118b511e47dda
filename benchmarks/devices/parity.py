"""Comparison of a path's output with the CPU path's; without parity there is no speed-up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.ssim import plane_ssim

MIN_PSNR_DB = 45.0
MAX_PSNR_DB = 99.0
ENCODER_TOLERANCE_DB = 1.0
Luma = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Parity:
    """The worst picture's luma against the CPU's: PSNR in dB (at most 99) and SSIM; `least` dB are enough."""

    psnr: float
    ssim: float
    least: float = MIN_PSNR_DB

    @property
    def holds(self) -> bool:
        return self.psnr >= self.least


NO_PARITY = Parity(0.0, 0.0)


def parity(actual: Sequence[Luma], expected: Sequence[Luma]) -> Parity:
    """Pictures in order, each (H, W); another count or size is no parity at all."""
    if not expected or [one.shape for one in actual] != [one.shape for one in expected]:
        return NO_PARITY
    pairs = list(zip(actual, expected, strict=True))
    alike = min(plane_ssim(one.astype(np.float32), other.astype(np.float32)) for one, other in pairs)
    return Parity(round(min(_psnr(*pair) for pair in pairs), 2), round(alike, 5))


def encoder_parity(actual: Sequence[Luma], cpu_encoded: Sequence[Luma], source: Sequence[Luma]) -> Parity:
    """Two encoders err in ways of their own: each is compared with the pictures that the CPU gives to it, and the GPU's
    may keep a decibel less of them than the CPU's (`rival`) does."""
    return replace(
        parity(actual, source), least=min(MIN_PSNR_DB, parity(cpu_encoded, source).psnr - ENCODER_TOLERANCE_DB)
    )


def _psnr(one: Luma, other: Luma) -> float:
    error = float(np.square(one.astype(np.float32) - other).mean(dtype=np.float64))
    return min(10 * float(np.log10(255**2 / error)), MAX_PSNR_DB) if error else MAX_PSNR_DB
