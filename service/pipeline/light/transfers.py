"""Transfer characteristics: from the samples' code to light and back.

Light is relative: 1 is reference white, which is 203 cd/m² in HDR (Rep. ITU-R BT.2408-7, 2.1) and the white of SDR.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from service.pipeline.light.primaries import BT2020_LUMA, Array
from service.plan.colour import ARIB_STD_B67, LINEAR, LOG, LOG_SQRT, SMPTE428, SMPTE2084

REFERENCE_WHITE_NITS = 203.0

# Rec. ITU-R BT.2100-2, table 4.
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK = 10_000 / REFERENCE_WHITE_NITS
# Rec. ITU-R BT.2100-2, table 5, for a display of 1,000 cd/m².
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_PEAK, _HLG_GAMMA = 1_000 / REFERENCE_WHITE_NITS, 1.2


class Transfer(NamedTuple):
    """Two functions over (..., 3) of float64: R'G'B' of 0 to 1 to light, and light to R'G'B'."""

    to_light: Callable[[Array], Array]
    from_light: Callable[[Array], Array]


def transfer(code: int) -> Transfer:
    """Of an H.273 number. SDR video is shown with the curve of sRGB, whatever its camera's curve, as computers do."""
    return _TRANSFERS.get(code, _SRGB)


def srgb_to_light(code: Array) -> Array:
    """IEC 61966-2-1."""
    return np.where(code <= 0.04045, code / 12.92, ((np.maximum(code, 0) + 0.055) / 1.055) ** 2.4)


def srgb_from_light(light: Array) -> Array:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def pq_to_light(code: Array) -> Array:
    """The EOTF of PQ."""
    root = np.clip(code, 0, 1) ** (1 / _PQ_M2)
    return _PQ_PEAK * (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1)


def pq_from_light(light: Array) -> Array:
    power = np.clip(light / _PQ_PEAK, 0, 1) ** _PQ_M1
    return ((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)) ** _PQ_M2


def hlg_to_scene(code: Array) -> Array:
    """The inverse OETF of HLG: scene light of 0 to 1."""
    return np.where(code <= 0.5, np.maximum(code, 0) ** 2 / 3, (np.exp((code - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def hlg_from_scene(scene: Array) -> Array:
    low = np.sqrt(3 * np.clip(scene, 0, 1 / 12))
    return np.where(scene <= 1 / 12, low, _HLG_A * np.log(np.maximum(12 * scene - _HLG_B, 1e-9)) + _HLG_C)


def hlg_to_light(code: Array) -> Array:
    """The EOTF of HLG. The system gamma acts on the luminance of BT.2020 primaries."""
    scene = hlg_to_scene(code)
    return _HLG_PEAK * scene * _luminance(scene) ** (_HLG_GAMMA - 1)


def hlg_from_light(light: Array) -> Array:
    display = np.maximum(light, 0) / _HLG_PEAK
    return np.clip(hlg_from_scene(display * _luminance(display) ** (1 / _HLG_GAMMA - 1)), 0, 1)


def _luminance(rgb: Array) -> Array:
    luminance: Array = np.maximum(rgb @ BT2020_LUMA, 1e-9)[..., None]
    return luminance


def _log_transfer(decades: float) -> Transfer:
    """H.273, table 3, values 9 and 10: logarithms over so many decades."""
    darkest = float(10.0**-decades)

    def to_light(code: Array) -> Array:
        return np.where(code > 0, np.power(10.0, decades * (code - 1)), 0.0)

    def from_light(light: Array) -> Array:
        return np.clip(1 + np.log10(np.maximum(light, darkest)) / decades, 0, 1)

    return Transfer(to_light, from_light)


_SRGB = Transfer(srgb_to_light, srgb_from_light)
_TRANSFERS: dict[int, Transfer] = {
    LINEAR: Transfer(lambda code: code, lambda light: np.clip(light, 0, 1)),
    LOG: _log_transfer(2),
    LOG_SQRT: _log_transfer(2.5),
    SMPTE2084: Transfer(pq_to_light, pq_from_light),
    # SMPTE ST 428-1: 48 cd/m² of the peak 52.37 are white.
    SMPTE428: Transfer(
        lambda code: np.maximum(code, 0) ** 2.6 * (52.37 / 48),
        lambda light: np.clip(light * 48 / 52.37, 0, 1) ** (1 / 2.6),
    ),
    ARIB_STD_B67: Transfer(hlg_to_light, hlg_from_light),
}
