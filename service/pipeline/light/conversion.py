"""Which colours have to be converted into a render's, and the function that does it to R'G'B'."""

from collections.abc import Callable

import numpy as np

from service.pipeline.light.primaries import Array, light_matrix
from service.pipeline.light.transfers import REFERENCE_WHITE_NITS, transfer
from service.plan.colour import BT709, HDR_TRANSFERS, LINEAR, LOG, LOG_SQRT, SMPTE428, Colour

# Light up to here is shown as it is: levels up to 218 of 255. Above, highlights share the rest; white becomes 237.
KNEE = 0.7
# Brighter light of HDR is shown as white.
PEAK_NITS = 1_000.0

# Curves that no display of SDR has. All others of SDR are shown as they are stored, as players do.
_OTHER_CURVES = {
    LINEAR: "linear light",
    LOG: "logarithmic samples (100:1)",
    LOG_SQRT: "logarithmic samples (316:1)",
    SMPTE428: "SMPTE 428",
}
# BT.709, both kinds of BT.601, SMPTE 240M and EBU 3213: so close that players show them alike.
_STANDARD_GAMUT = frozenset((1, 5, 6, 7, 22))
_GAMUT_NAMES = {1: "BT.709", 4: "BT.470 M", 8: "film", 9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}


def describe(source: Colour, target: Colour) -> str | None:
    """What is done to samples of these colours in a render of those, in words; None if they stay as they are."""
    curve, into = _curve(source.transfer), _curve(target.transfer)
    if source.is_hdr and not target.is_hdr:
        return f"tone-mapped from {HDR_TRANSFERS[source.transfer]} (BT.2100) to SDR {_gamut_name(target.primaries)}"
    if curve != into:
        return f"converted from {_curve_name(source)} to {_curve_name(target)}"
    if _gamut(source.primaries) != _gamut(target.primaries):
        return f"colours converted from {_gamut_name(source.primaries)} to {_gamut_name(target.primaries)}"
    return None


def converter(source: Colour, target: Colour) -> Callable[[Array], Array]:
    """A function from R'G'B' of `source` (0 to 1) to R'G'B' of `target`: (..., 3) of float64.

    Light is computed, its primaries are changed, and the light of HDR is fitted into SDR by `roll_off`. A colour that
    the new primaries cannot mix has a negative channel: whoever stores the result clips it to 0.
    """
    matrix = light_matrix(source.primaries, target.primaries)
    to_light, from_light = transfer(source.transfer).to_light, transfer(target.transfer).from_light
    tone_mapped = source.is_hdr and not target.is_hdr

    def convert(code: Array) -> Array:
        light = to_light(code) @ matrix.T
        if tone_mapped:
            brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
            light = light * (roll_off(brightest) / brightest)
        return np.where(light < 0, -1, 1) * from_light(np.abs(light))

    return convert


def roll_off(light: Array) -> Array:
    """Light of HDR (1: 203 cd/m²) as light of SDR (1: white), of the brightest channel, so that hues stay.

    The identity up to KNEE; then, with the same slope at first, the curve of Reinhard et al. (Photographic Tone
    Reproduction, 2002, equation 4) of what exceeds it, which reaches 1 at PEAK_NITS. Never falling.
    """
    room = 1 - KNEE
    excess = np.maximum(light - KNEE, 0) / room
    most = (PEAK_NITS / REFERENCE_WHITE_NITS - KNEE) / room
    return np.minimum(np.minimum(light, KNEE) + room * excess * (1 + excess / most**2) / (1 + excess), 1)


def _curve(code: int) -> int:
    return code if code in HDR_TRANSFERS or code in _OTHER_CURVES else BT709


def _gamut(primaries: int) -> int:
    return BT709 if primaries in _STANDARD_GAMUT or primaries not in _GAMUT_NAMES else primaries


def _gamut_name(primaries: int) -> str:
    return _GAMUT_NAMES[_gamut(primaries)]


def _curve_name(colour: Colour) -> str:
    if colour.is_hdr:
        return f"{HDR_TRANSFERS[colour.transfer]} (BT.2100)"
    return _OTHER_CURVES.get(colour.transfer, f"SDR {_gamut_name(colour.primaries)}")
