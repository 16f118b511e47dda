"""How long a scale bar is in the output."""

from fractions import Fraction
from typing import Literal

from service.errors import invalid_field
from service.plan.overlay import ScaleBar
from service.plan.render_plan import RenderOptions

Unit = Literal["nm", "um", "mm", "cm", "m"]

MICROMETRES: dict[Unit, Fraction] = {
    "nm": Fraction(1, 1000),
    "um": Fraction(1),
    "mm": Fraction(1000),
    "cm": Fraction(10_000),
    "m": Fraction(1_000_000),
}
SIGNS: dict[Unit, str] = {"um": "µm"}


def scale_bar(length: float, unit: Unit, pixel_um: float, options: RenderOptions, shown: tuple[int, int]) -> ScaleBar:
    """`pixel_um` is the side of a source pixel, `shown` the size before scaling. Raises Invalid if it is too long."""
    across, down = Fraction(options.width, shown[0]), Fraction(options.height, shown[1])
    scale = across if options.mismatch == "scale" else min(across, down)
    exact = Fraction(length).limit_denominator(10**6) * MICROMETRES[unit] / Fraction(pixel_um).limit_denominator(10**9)
    pixels = round(exact * scale)
    if not 4 <= pixels <= options.width * 9 // 10:
        widest = options.width * 9 // 10 / scale * Fraction(pixel_um).limit_denominator(10**9) / MICROMETRES[unit]
        fits = f"from 4 to nine tenths of {options.width}, which are {float(widest):.3g} {unit}"
        detail = f"the bar would be {pixels} pixels long: it can be {fits}"
        raise invalid_field("#/overlay/scale_bar/length", detail, "unusable_length")
    return ScaleBar(pixels, f"{length:g} {SIGNS.get(unit, unit)}")
