"""What is drawn onto the pictures: text and a scale bar. Sizes are in pixels of the output."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from service.errors import invalid_field
from service.plan.geometry import Size

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
Unit = Literal["nm", "um", "mm", "cm", "m"]

# What the overlay's font can draw: Pillow's own characters, and a µ made of its u.
CHARACTERS = frozenset(
    chr(code)
    for code in (
        *range(0x20, 0x7F),
        *(0xA9, 0xAB, 0xB0, 0xB1, 0xB4, 0xB5, 0xB7, 0xBB),
        *(0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0x2039, 0x203A, 0x2044, 0x2122),
    )
)
MICROMETRES: dict[Unit, Fraction] = {
    "nm": Fraction(1, 1000),
    "um": Fraction(1),
    "mm": Fraction(1000),
    "cm": Fraction(10_000),
    "m": Fraction(1_000_000),
}
UNIT_SYMBOLS: dict[Unit, str] = {"um": "µm"}

# The side of a source pixel, in micrometres, that an experiment may name.
MIN_PIXEL_UM, MAX_PIXEL_UM = 1e-6, 1e9


@dataclass(frozen=True, slots=True)
class ScaleBarSpec:
    """The scale bar of a request: its length in the scene, above 0 and at most 1e9, by default in micrometres. Without
    a length, one that suits the picture, by default in the unit that suits it."""

    length: float | None = None
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class OverlaySpec:
    """The overlay of a request. `size` is the height of a line of text; None: chosen from the output's height."""

    frame_index: bool = False
    captured_at: bool = False
    elapsed: bool = False
    text: str = ""
    scale_bar: ScaleBarSpec | None = None
    position: Corner = "bottom_left"
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ScaleBar:
    pixels: int
    label: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """Text in one corner, the scale bar in the one beside it; `size` is the height of a line of text."""

    frame_index: bool
    captured_at: bool
    elapsed: bool
    text: str
    bar: ScaleBar | None
    position: Corner
    size: int

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Overlay":
        bar = document["bar"]
        return cls(**document | {"bar": ScaleBar(**bar) if bar else None})


def text_size(height: int) -> int:
    """A twenty-eighth of the picture's height, at least 12 pixels: legible in a window and at full size."""
    return max(12, round(height / 28))


def drawable_text(text: str) -> str:
    """The text with single spaces, and with the micro sign for the Greek letter that keyboards give.

    Raises InvalidRequest, pointing at `#/overlay/text`, for the first character that the font lacks.
    """
    text = " ".join(text.split()).replace("\u03bc", "\u00b5")
    for place, character in enumerate(text, 1):
        if character not in CHARACTERS:
            detail = f"character {place} cannot be drawn: the overlay has ASCII, © ° ± µ · … ™ and typographic quotes"
            raise invalid_field("#/overlay/text", detail, "unsupported_character")
    return text


def pixel_size_of(metadata: dict[str, Any]) -> float | None:
    """The side of a source pixel in micrometres, from an experiment's metadata; None when it has no usable one."""
    side = metadata.get("pixel_size_um")
    if isinstance(side, bool) or not isinstance(side, int | float) or not MIN_PIXEL_UM <= side <= MAX_PIXEL_UM:
        return None
    return float(side)


def scale_bar(spec: ScaleBarSpec, pixel_um: float | None, unscaled: Size, output: Size, *, stretched: bool) -> ScaleBar:
    """The bar in pixels of the output.

    `pixel_um` is the side of a source pixel, `unscaled` the size before scaling; `stretched` says that the two sides
    are scaled independently. Raises InvalidRequest, pointing at `#/overlay/scale_bar` or its `/length`, when the pixel
    size is unknown or the bar does not fit.
    """
    if pixel_um is None:
        detail = "the experiment's metadata has no pixel_size_um, the side of a source pixel in micrometres: add it"
        raise invalid_field("#/overlay/scale_bar", detail, "no_pixel_size")
    across, down = Fraction(output[0], unscaled[0]), Fraction(output[1], unscaled[1])
    scale = across if stretched else min(across, down)
    pixel = Fraction(pixel_um).limit_denominator(10**9)
    if spec.length is None:
        length, name = _round_length(max(Fraction(output[0], 5), Fraction(10)) / scale * pixel, spec.unit)
    else:
        length, name = Fraction(spec.length).limit_denominator(10**6), spec.unit or "um"
    pixels = round(length * MICROMETRES[name] / pixel * scale)
    longest = output[0] * 9 // 10
    if not 4 <= pixels <= longest:
        widest = float(longest / scale * pixel / MICROMETRES[name])
        fits = f"from 4 to nine tenths of {output[0]}, which are {widest:.3g} {name}"
        detail = f"the bar would be {pixels} pixels long: it can be {fits}"
        raise invalid_field("#/overlay/scale_bar/length", detail, "unusable_length")
    return ScaleBar(pixels, f"{float(length):g} {UNIT_SYMBOLS.get(name, name)}")


def _round_length(micrometres: Fraction, unit: Unit | None) -> tuple[Fraction, Unit]:
    """The longest of 1, 2, 5, 10, 20, 50 … that is not above `micrometres`, in `unit` or the largest one of which it
    has at least one."""
    suited: Unit = next((each for each in reversed(MICROMETRES) if MICROMETRES[each] <= micrometres), "nm")
    name = unit or suited
    units = micrometres / MICROMETRES[name]
    power = Fraction(1, 10**15)
    while power * 10 <= units:
        power *= 10
    return next(step * power for step in (5, 2, 1) if step * power <= units), name
