"""R'G'B' of YCbCr in the matrices that swscale does not compute (Rec. ITU-T H.273 (07/2021), 8.3)."""

from collections.abc import Callable

import numpy as np

from service.pipeline.light.primaries import BT2020_LUMA, Array, luma_weights
from service.pipeline.light.transfers import hlg_from_scene, hlg_to_scene, pq_from_light, pq_to_light
from service.plan.colour import ARIB_STD_B67, SMPTE2084, SRGB_TRANSFER, Colour

YCGCO, BT2020_CL, SMPTE2085, DERIVED_NCL, DERIVED_CL, ICTCP = 8, 10, 11, 12, 13, 14
# Numbers whose samples are not turned into R'G'B' here.
UNKNOWN_MATRICES = {15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}

_RGB_TO_LMS: Array = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
_LMS_TO_ICTCP_PQ: Array = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
_LMS_TO_ICTCP_HLG: Array = np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096


def to_rgb(y: Array, cb: Array, cr: Array, colour: Colour) -> Array:
    """R'G'B' (..., 3), not clipped, of luma of 0 to 1 and chroma of -0.5 to 0.5. Raises KeyError for other matrices."""
    red, green, blue = _MATRICES[colour.matrix](y, cb, cr, colour)
    return np.stack([red, green, blue], axis=-1)


def is_computed(matrix: int) -> bool:
    return matrix in _MATRICES


Rgb = tuple[Array, Array, Array]


def _ycgco(y: Array, cg: Array, co: Array, _: Colour) -> Rgb:
    """Equations 65 to 67: the difference signals have the scale of luma (see `chroma_scale`)."""
    return y - cg + co, y + cg, y - cg - co


def _smpte2085(y: Array, pb: Array, pr: Array, _: Colour) -> Rgb:
    """Equations 71 to 73."""
    return 2 * pr + 0.991902 * y, y, (2 * pb + y) / 0.986566


def _derived(y: Array, cb: Array, cr: Array, colour: Colour) -> Rgb:
    """Equations 38 to 41, with the weights of the primaries."""
    red_weight, green_weight, blue_weight = luma_weights(colour.primaries)
    red, blue = y + 2 * (1 - red_weight) * cr, y + 2 * (1 - blue_weight) * cb
    return red, (y - red_weight * red - blue_weight * blue) / green_weight, blue


def _bt2020_constant(y: Array, cb: Array, cr: Array, colour: Colour) -> Rgb:
    return _constant_luminance(y, cb, cr, colour, BT2020_LUMA)


def _derived_constant(y: Array, cb: Array, cr: Array, colour: Colour) -> Rgb:
    return _constant_luminance(y, cb, cr, colour, luma_weights(colour.primaries))


def _constant_luminance(y: Array, cb: Array, cr: Array, colour: Colour, weights: Array) -> Rgb:
    """Equations 50 to 60: luma codes the luminance, so that green follows from linear light."""
    to_light, from_light = _camera_curve(colour.transfer)
    red_weight, green_weight, blue_weight = weights

    def with_luma(chroma: Array, weight: float) -> Array:
        below, above = from_light(np.array(1 - weight)), 1 - from_light(np.array(weight))
        return y + 2 * chroma * np.where(chroma < 0, below, above)

    red, blue = with_luma(cr, red_weight), with_luma(cb, blue_weight)
    green = (to_light(y) - red_weight * to_light(red) - blue_weight * to_light(blue)) / green_weight
    return red, from_light(np.maximum(green, 0)), blue


def _ictcp(i: Array, ct: Array, cp: Array, colour: Colour) -> Rgb:
    """Equations 74 to 82."""
    is_hlg = colour.transfer == ARIB_STD_B67
    mixing = _LMS_TO_ICTCP_HLG if is_hlg else _LMS_TO_ICTCP_PQ
    lms = np.stack([i, ct, cp], axis=-1) @ np.linalg.inv(mixing).T
    to_light, from_light = _camera_curve(colour.transfer)
    light = to_light(lms) @ np.linalg.inv(_RGB_TO_LMS).T
    red, green, blue = np.moveaxis(from_light(np.maximum(light, 0)), -1, 0)
    return red, green, blue


def _camera_curve(code: int) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """(from code to light, from light to code) of H.273, table 3, without what a display adds."""
    if code == SMPTE2084:
        peak = float(pq_to_light(np.array(1.0)))
        return lambda value: pq_to_light(value) / peak, lambda light: pq_from_light(light * peak)
    if code == ARIB_STD_B67:
        return hlg_to_scene, hlg_from_scene
    if code == SRGB_TRANSFER:
        return _camera(0.0031308, 12.92, 0.055, 1 / 2.4)
    return _camera(0.018053968510807, 4.5, 0.09929682680944, 0.45)


def _camera(
    knee: float, slope: float, offset: float, power: float
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """A straight line up to `knee`, then a power."""

    def to_light(code: Array) -> Array:
        curve = ((np.maximum(code, 0) + offset) / (1 + offset)) ** (1 / power)
        return np.where(code < slope * knee, np.maximum(code, 0) / slope, curve)

    def from_light(light: Array) -> Array:
        return np.where(light < knee, slope * light, (1 + offset) * np.maximum(light, 0) ** power - offset)

    return to_light, from_light


_MATRICES: dict[int, Callable[[Array, Array, Array, Colour], Rgb]] = {
    YCGCO: _ycgco,
    BT2020_CL: _bt2020_constant,
    SMPTE2085: _smpte2085,
    DERIVED_NCL: _derived,
    DERIVED_CL: _derived_constant,
    ICTCP: _ictcp,
}
