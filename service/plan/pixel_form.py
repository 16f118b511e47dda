"""In which form samples reach the encoder: fixed for a whole render, so that every segment has the same parameters.

The names are FFmpeg's pixel formats; a `j` means full range, gray and RGB are full range, the others limited.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from service.errors import invalid_field
from service.plan.containers import Codec
from service.plan.tone import Tone

PixelForm = Literal[
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuvj420p",
    "yuvj422p",
    "yuvj444p",
    "gray",
    "gray16le",
    "bgr0",
    "gbrp16le",
]
FORMS: frozenset[str] = frozenset(get_args(PixelForm))
_GRAY: frozenset[str] = frozenset(("gray", "gray16le"))
_RGB: frozenset[str] = frozenset(("bgr0", "gbrp16le"))
_JPEG: tuple[PixelForm, ...] = ("yuvj420p", "yuvj422p", "yuvj444p")
_FAMILIES: tuple[tuple[PixelForm, ...], ...] = (
    _JPEG,
    ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"),
)


def form_of(codec: Codec, kinds: Mapping[str, int]) -> PixelForm:
    """The form of a render of frames of these kinds (form -> how many). Raises Invalid when ffv1 has no fitting one."""
    if codec == "mjpeg":
        return _jpeg_form(kinds)
    if codec != "ffv1":
        return "yuv420p"
    if not kinds:
        detail = "ffv1 keeps samples as they are, but the last scan did not note what they are: scan the dataset again"
        raise invalid_field("#/codec", detail, "rescan")
    return _holding_all(frozenset(kinds))


def toned_kinds(codec: Codec, kinds: Mapping[str, int], tone: Tone | None) -> Mapping[str, int]:
    """What the frames are once the tone has been applied to those it is for."""
    if tone is None:
        return kinds
    as_gray = "gray" if codec == "mjpeg" and tone.colormap == "gray" else "yuv420p"
    shown = {"gray16le": as_gray, "gbrp16le": "bgr0"} | ({"gray": as_gray} if tone.shallow else {})
    found: dict[str, int] = {}
    for kind, count in kinds.items():
        form = shown.get(kind, kind if kind in FORMS else as_gray)
        found[form] = found.get(form, 0) + count
    return found


def turned_kinds(kinds: Mapping[str, int], size: tuple[int, int], rotate: int) -> Mapping[str, int]:
    """What the frames are once they have been turned to this size: chroma that cannot be turned is made full."""
    found: dict[str, int] = {}
    for kind, count in kinds.items():
        form = turned_form(kind, size, quarter=rotate in (90, 270)) if rotate else kind
        found[form] = found.get(form, 0) + count
    return found


def turned_form(form: str, size: tuple[int, int], *, quarter: bool) -> str:
    """Half-width chroma lies the wrong way after a quarter turn, and half a sample off in a mirrored odd side."""
    odd = size[0] % 2 or size[1] % 2
    if quarter:
        form = form.replace("422p", "444p")
    return form.replace("420p", "444p") if odd else form


def drawn_form(codec: Codec, form: PixelForm) -> PixelForm:
    """The form of a render with an overlay, which is drawn on 8-bit gray or 4:2:0. Raises Invalid for other ffv1."""
    if codec == "mjpeg":
        return form if form == "gray" else "yuvj420p"
    if form not in ("yuv420p", "yuvj420p", "gray"):
        detail = f"an overlay needs 8-bit gray or 4:2:0 pictures, and {codec} keeps these as {form}: use another codec"
        raise invalid_field("#/overlay", detail, "undrawable_form")
    return form


def require_brightness(form: PixelForm) -> None:
    """Raises Invalid for a form that has no plane of brightness."""
    if form in _RGB:
        detail = f"the brightest of RGB samples ({form}) is a colour no frame has: use mean, drop, or another codec"
        raise invalid_field("#/decimation_mode", detail, "no_brightness")


def _jpeg_form(kinds: Mapping[str, int]) -> PixelForm:
    """What most JPEGs are; gray when nothing has colour."""
    if kinds and _GRAY.issuperset(kinds):
        return "gray"
    return max(_JPEG, key=lambda form: kinds.get(form, 0))


def _holding_all(kinds: frozenset[str]) -> PixelForm:
    """The smallest form that holds them all: exactly, but YCbCr beside RGB or of two ranges is rounded to RGB."""
    if unknown := sorted(kinds - FORMS):
        detail = f"ffv1 cannot keep {unknown[0]} as it is: choose another codec"
        raise invalid_field("#/codec", detail, "not_lossless")
    if kinds <= _GRAY:
        return "gray16le" if "gray16le" in kinds else "gray"
    deep = bool(kinds & {"gray16le", "gbrp16le"})
    if kinds & _RGB or deep:
        return "gbrp16le" if deep else "bgr0"
    for family in _FAMILIES:
        if kinds - _GRAY <= frozenset(family) and not (kinds & _GRAY and family != _JPEG):
            return _largest(kinds - _GRAY, family)
    return "bgr0"


def _largest(kinds: frozenset[str], family: tuple[PixelForm, ...]) -> PixelForm:
    """The finest chroma and the greatest depth among them."""
    chroma = max(kind.removesuffix("10le")[-4:] for kind in kinds)
    deep = "10le" if any(kind.endswith("10le") for kind in kinds) else ""
    return next(form for form in family if form.endswith(chroma + deep))
