"""Compare the output of a path with the CPU's; without parity there is no speed-up."""

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
    """Luma of the worst picture against the CPU's: PSNR in dB (at most 99) and SSIM. `least`: required PSNR."""

    psnr: float
    ssim: float
    least: float = MIN_PSNR_DB

    @property
    def holds(self) -> bool:
        return self.psnr >= self.least


NO_PARITY = Parity(0.0, 0.0)


def parity(actual: Sequence[Luma], expected: Sequence[Luma]) -> Parity:
    """Compare two sequences of (H, W) luma planes; NO_PARITY if count or size differ."""
    if not expected or [one.shape for one in actual] != [one.shape for one in expected]:
        return NO_PARITY
    pairs = list(zip(actual, expected, strict=True))
    alike = min(plane_ssim(one.astype(np.float32), other.astype(np.float32)) for one, other in pairs)
    return Parity(round(min(_psnr(*pair) for pair in pairs), 2), round(alike, 5))


def encoder_parity(actual: Sequence[Luma], cpu_encoded: Sequence[Luma], source: Sequence[Luma]) -> Parity:
    """Compare an encoder's output with its source. Two encoders err differently, so it may be ENCODER_TOLERANCE_DB
    worse than the CPU's encoder."""
    return replace(
        parity(actual, source), least=min(MIN_PSNR_DB, parity(cpu_encoded, source).psnr - ENCODER_TOLERANCE_DB)
    )


def _psnr(one: Luma, other: Luma) -> float:
    error = float(np.square(one.astype(np.float32) - other).mean(dtype=np.float64))
    return min(10 * float(np.log10(255**2 / error)), MAX_PSNR_DB) if error else MAX_PSNR_DB
