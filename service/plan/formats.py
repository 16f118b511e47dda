"""Codecs, containers, pixel formats and colours: what the encoder is given, and which file holds the result.

Pixel formats have FFmpeg's names. A `j` means full range; gray and RGB are full range, the others limited. A render has
one pixel format, so that every segment has the same encoder parameters.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from service.errors import invalid_field
from service.plan.tone import Tone

# What a dataset consists of.
SourceKind = Literal["frames", "video"]
Codec = Literal["h264", "av1", "hevc", "mjpeg", "ffv1"]
Effort = Literal["fast", "balanced", "small"]
Container = Literal["mp4", "mov", "mkv", "avi"]
Output = Literal["preview_strip", "keogram"]
PixelFormat = Literal[
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

# The efforts that have settings of their own; any other is balanced. SVT-AV1's faster presets lose blinking lights, and
# x265 and libjpeg have no faster settings that are worth their bytes: see docs/quality.md.
EFFORTS: dict[Codec, tuple[Effort, ...]] = {
    "h264": ("fast", "balanced", "small"),
    "hevc": ("balanced", "small"),
    "av1": ("balanced", "small"),
    "mjpeg": ("balanced", "small"),
    "ffv1": ("fast", "balanced", "small"),
}

# The containers that hold a codec so that common players show the right colours at the right times; the first is the
# default. AVI has no timestamps for B-frames and no field for range or matrix; MOV has neither AV1 nor FFV1.
CONTAINERS: dict[Codec, tuple[Container, ...]] = {
    "h264": ("mp4", "mov", "mkv"),
    "hevc": ("mp4", "mov", "mkv"),
    "av1": ("mp4", "mkv"),
    "mjpeg": ("avi", "mov", "mkv"),
    "ffv1": ("mkv",),
}

MEDIA_TYPES: dict[Container, str] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
}

# What a render makes besides its video: the file name of a segment's part, and of the picture made of all parts.
ARTIFACT_FILES: dict[Output, str] = {"preview_strip": "preview.jpg", "keogram": "keogram.png"}

# The basic CSS names, and orange, cyan and magenta.
COLOUR_NAMES: dict[str, str] = {
    "black": "#000000",
    "white": "#ffffff",
    "gray": "#808080",
    "silver": "#c0c0c0",
    "red": "#ff0000",
    "maroon": "#800000",
    "orange": "#ffa500",
    "yellow": "#ffff00",
    "olive": "#808000",
    "lime": "#00ff00",
    "green": "#008000",
    "cyan": "#00ffff",
    "teal": "#008080",
    "blue": "#0000ff",
    "navy": "#000080",
    "magenta": "#ff00ff",
    "purple": "#800080",
}
BLACK = COLOUR_NAMES["black"]
_HEX_COLOUR = re.compile(r"#[0-9a-f]{6}")
_NOT_NOTED = re.compile(r"^(\d+-bit) samples$")

PIXEL_FORMATS: frozenset[str] = frozenset(get_args(PixelFormat))
_GRAY: frozenset[str] = frozenset(("gray", "gray16le"))
_RGB: frozenset[str] = frozenset(("bgr0", "gbrp16le"))
_JPEG: tuple[PixelFormat, ...] = ("yuvj420p", "yuvj422p", "yuvj444p")
_YUV: tuple[PixelFormat, ...] = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")


def choose_container(codec: Codec, requested: Container | None, *, timed: bool = False) -> Container:
    """The container of a render. `timed`: pictures have unequal durations, which AVI cannot express.

    Raises InvalidRequest, pointing at `#/container`, when the requested one cannot hold the codec.
    """
    possible = tuple(container for container in CONTAINERS[codec] if not (timed and container == "avi"))
    if requested is None:
        return possible[0]
    if timed and requested == "avi":
        detail = f"avi cannot hold pictures of unequal length: use {' or '.join(possible)}, or timing uniform"
        raise invalid_field("#/container", detail, "container")
    if requested not in possible:
        others = ", ".join(name for name, containers in CONTAINERS.items() if requested in containers)
        detail = f"{requested} cannot hold {codec}: use {' or '.join(possible)}; {requested} is for {others}"
        raise invalid_field("#/container", detail, "container")
    return requested


def canonical_outputs(requested: Iterable[Output]) -> tuple[Output, ...]:
    """Each output once, in one order: two requests for the same compare equal."""
    names = set(requested)
    return tuple(output for output in ARTIFACT_FILES if output in names)


def canonical_colour(colour: str) -> str:
    """A colour as #rrggbb: "White" and "#FFFFFF" are both "#ffffff". Raises ValueError."""
    lower = colour.lower()
    found = COLOUR_NAMES.get(lower, lower)
    if not _HEX_COLOUR.fullmatch(found):
        raise ValueError(f"a colour is #rrggbb or one of {', '.join(COLOUR_NAMES)}")
    return found


def rgb(colour: str) -> tuple[int, int, int]:
    """Three levels of 0..255 of a canonical colour."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def choose_pixel_format(codec: Codec, counts: Mapping[str, int]) -> PixelFormat:
    """The pixel format of a render whose frames have these formats (format -> number of frames).

    Raises InvalidRequest, pointing at `#/codec`, when ffv1 has no fitting one.
    """
    if codec == "mjpeg":
        return _jpeg_format(counts)
    if codec != "ffv1":
        return "yuv420p"
    if not counts:
        detail = "ffv1 keeps samples as they are, but the last scan did not note what they are: scan the dataset again"
        raise invalid_field("#/codec", detail, "rescan")
    return _lossless_format(frozenset(counts))


def has_deep_frames(names: Iterable[str]) -> bool:
    """Whether any frame has samples that a tone makes visible."""
    return any(" samples" in name or name in ("gray16le", "ya16le", "gbrp16le") for name in names)


def formats_of_rgb_samples(counts: Mapping[str, int]) -> Mapping[str, int]:
    """The formats of a dataset whose deep frames are all RGB; a scan of an earlier version did not note which are."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        after = _NOT_NOTED.sub(r"\1 RGB samples", name)
        found[after] = found.get(after, 0) + count
    return found


def formats_over_background(counts: Mapping[str, int], background: str) -> Mapping[str, int]:
    """The formats of the frames once their transparent pixels show the background (#rrggbb).

    Gray with alpha becomes RGB over a background that has a colour.
    """
    red, green, blue = rgb(background)
    gray = red == green == blue
    changed = {"ya8": "gray" if gray else "bgr0", "ya16le": "gray16le" if gray else "gbrp16le"}
    found: dict[str, int] = {}
    for name, count in counts.items():
        described = name.replace(" samples with alpha", " samples" if gray else " RGB samples")
        after = changed.get(name, described)
        found[after] = found.get(after, 0) + count
    return found


def formats_after_tone(codec: Codec, counts: Mapping[str, int], tone: Tone | None) -> Mapping[str, int]:
    """The formats of the frames once the tone has been applied to those that need it."""
    if tone is None:
        return counts
    as_gray = "gray" if codec == "mjpeg" and tone.colormap == "gray" else "yuv420p"
    changed = {"gray16le": as_gray, "gbrp16le": "bgr0"} | ({"gray": as_gray} if tone.shallow else {})
    found: dict[str, int] = {}
    for name, count in counts.items():
        described = "bgr0" if name.endswith(" RGB samples") else as_gray
        after = changed.get(name, name if name in PIXEL_FORMATS else described)
        found[after] = found.get(after, 0) + count
    return found


def formats_after_rotation(counts: Mapping[str, int], size: tuple[int, int], rotate: int) -> Mapping[str, int]:
    """The formats of the frames once they have been rotated to this size (degrees, clockwise)."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        after = format_after_rotation(name, size, quarter=rotate in (90, 270)) if rotate else name
        found[after] = found.get(after, 0) + count
    return found


def format_after_rotation(name: str, size: tuple[int, int], *, quarter: bool) -> str:
    """The format with full chroma where the rotation would misplace subsampled chroma.

    Half-width chroma has the wrong direction after a quarter turn, and is half a sample off in a mirrored odd side.
    """
    odd = size[0] % 2 or size[1] % 2
    if quarter:
        name = name.replace("422p", "444p")
    return name.replace("420p", "444p") if odd else name


def format_with_overlay(codec: Codec, pixel_format: PixelFormat, pointer: str = "#/overlay") -> PixelFormat:
    """The pixel format of a render with an overlay, which is drawn on 8-bit gray or 4:2:0.

    Raises InvalidRequest, pointing at what is drawn, for an ffv1 render of another format.
    """
    if codec == "mjpeg":
        return pixel_format if pixel_format == "gray" else "yuvj420p"
    if pixel_format not in ("yuv420p", "yuvj420p", "gray"):
        detail = (
            f"an overlay needs 8-bit gray or 4:2:0 pictures, and {codec} keeps these as {pixel_format}: "
            "use another codec"
        )
        raise invalid_field(pointer, detail, "undrawable_form")
    return pixel_format


def require_brightness(pixel_format: PixelFormat) -> None:
    """Raises InvalidRequest, pointing at `#/decimation_mode`, for a format that has no plane of brightness."""
    if pixel_format in _RGB:
        detail = (
            f"the brightest of RGB samples ({pixel_format}) is a colour no frame has: use mean, drop, or another codec"
        )
        raise invalid_field("#/decimation_mode", detail, "no_brightness")


def _jpeg_format(counts: Mapping[str, int]) -> PixelFormat:
    """What most JPEGs are; gray when nothing has colour."""
    if counts and _GRAY.issuperset(counts):
        return "gray"
    return max(_JPEG, key=lambda name: counts.get(name, 0))


def _lossless_format(names: frozenset[str]) -> PixelFormat:
    """The smallest format that holds them all: exactly, but YCbCr beside RGB or of two ranges is rounded to RGB."""
    if unknown := sorted(names - PIXEL_FORMATS):
        detail = f"ffv1 cannot keep {unknown[0]} as it is: choose another codec"
        raise invalid_field("#/codec", detail, "not_lossless")
    if names <= _GRAY:
        return "gray16le" if "gray16le" in names else "gray"
    deep = bool(names & {"gray16le", "gbrp16le"})
    if names & _RGB or deep:
        return "gbrp16le" if deep else "bgr0"
    colours = names - _GRAY
    if colours <= frozenset(_JPEG):
        return _finest(colours, _JPEG)
    if names <= frozenset(_YUV):
        return _finest(colours, _YUV)
    return "bgr0"


def _finest(names: frozenset[str], family: tuple[PixelFormat, ...]) -> PixelFormat:
    """The format of the family with the finest chroma and the greatest depth among `names`."""
    chroma = max(name.removesuffix("10le")[-4:] for name in names)
    depth = "10le" if any(name.endswith("10le") for name in names) else ""
    return next(name for name in family if name.endswith(chroma + depth))
