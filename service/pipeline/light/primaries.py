"""Primaries of H.273 as matrices of light."""

from typing import Any

import numpy as np

from service.plan.colour import BT709

Array = np.ndarray[Any, np.dtype[np.float64]]

_D65, _C, _DCI, _E = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351), (1 / 3, 1 / 3)
# H.273 number -> chromaticities (x, y) of red, green, blue and white (Rec. ITU-T H.273, table 2).
_CHROMATICITIES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), _E),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
# Rec. ITU-R BT.2020-2, table 4.
BT2020_LUMA: Array = np.array([0.2627, 0.6780, 0.0593])
# Linearised Bradford (ICC.1:2022, annex E): cones' responses to XYZ.
_BRADFORD: Array = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def luma_weights(primaries: int) -> Array:
    """Luminance of red, green and blue (H.273, equations 39 to 44); they add up to 1."""
    weights: Array = _to_xyz(primaries)[1]
    return weights


def light_matrix(source: int, target: int) -> Array:
    """(3, 3): linear RGB of one set of primaries to that of another. Whites are adapted to each other (Bradford)."""
    adapted = _BRADFORD @ _white(target) / (_BRADFORD @ _white(source))
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(adapted) @ _BRADFORD
    matrix: Array = np.linalg.inv(_to_xyz(target)) @ adaptation @ _to_xyz(source)
    return matrix


def _white(primaries: int) -> Array:
    return _xyz(_chromaticities(primaries)[3])


def _to_xyz(primaries: int) -> Array:
    *corners, white = _chromaticities(primaries)
    columns = np.array([(x, y, 1 - x - y) for x, y in corners]).T
    matrix: Array = columns * np.linalg.solve(columns, _xyz(white))
    return matrix


def _xyz(white: tuple[float, float]) -> Array:
    """XYZ of luminance 1."""
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _chromaticities(primaries: int) -> tuple[tuple[float, float], ...]:
    return _CHROMATICITIES.get(primaries, _CHROMATICITIES[BT709])
