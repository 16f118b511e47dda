"""Converts samples from the colours that a file states to sRGB: relative colorimetric.

A profile is examined once: if no colour of a coarse grid changes by more than one level of 255 it counts as sRGB, and
the samples stay as they are.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.images.icc_transform import gray_table, gray_to_srgb, rgb_to_srgb
from service.pipeline.images.stored_colour import DAMAGED, SRGB_CURVE, UNSTATED, ColourSpace, StoredColour
from service.pipeline.light.conversion import describe
from service.pipeline.light.cube import RGB_FORMAT, apply_cube
from service.pipeline.picture import Samples, samples_view
from service.plan.colour import HDR_TRANSFERS, JPEG_COLOUR, Colour

# Pictures with more profiles than this in turn pay 5 ms for each.
_REMEMBERED_PROFILES = 16
_GRID_LEVELS, _CURVE_ENTRIES, _NAME_LENGTH = 9, 4096, 80
# ICC.1:2022, tables 18 and 19: classes of profiles that describe stored colours, and the colour spaces of pictures.
_DESCRIBING_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
_SPACES = {b"RGB ": "rgb", b"GRAY": "gray"}
_SPACE_NAMES = {b"RGB ": "colour", b"GRAY": "gray", b"CMYK": "CMYK", b"Lab ": "L*a*b*", b"XYZ ": "XYZ"}


@dataclass(frozen=True, slots=True)
class ColourConversion:
    """What is done to the samples of one image, and the words for the receipt.

    `profile` is an ICC profile for gray or colour, `hdr` the code points of HDR; without both nothing is changed.
    """

    words: tuple[str, ...] = ()
    profile: bytes = b""
    is_gray: bool = False
    hdr: Colour | None = None

    @property
    def is_needed(self) -> bool:
        """Whether samples are changed."""
        return bool(self.profile) or self.hdr is not None

    def apply(self, samples: Samples) -> Samples:
        """sRGB samples of the same shape and depth; alpha, the last of 2 or 4 channels, stays as it is.

        `samples` are (height, width) or (height, width, 2) of gray, or (height, width, 3 or 4) of R'G'B', unsigned 8 or
        16 bits.
        """
        if not self.is_needed:
            return samples
        native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
        if native.ndim == 2:
            return self._convert(native)
        colours = native.shape[2] - (native.shape[2] in (2, 4))
        if native.shape[2] == colours:
            return self._convert(native)
        converted = native.copy()
        converted[..., :colours] = self._convert(native[..., 0] if colours == 1 else native[..., :3]).reshape(
            *native.shape[:2], colours
        )
        return converted

    def _convert(self, samples: Samples) -> Samples:
        if self.hdr is not None:
            return _hdr_to_srgb(samples, self.hdr)
        convert = gray_to_srgb if self.is_gray else rgb_to_srgb
        return convert(samples, self.profile)


UNCHANGED = ColourConversion()


def plan_conversion(
    colour: StoredColour, channels: int, samples: str = "uint8", *, keep: bool = False
) -> ColourConversion:
    """What has to be done to `samples`, the name of their type, of 1 or 2 (gray) or 3 or 4 (R'G'B') channels.

    `keep`: samples stay as they are stored, and the words say which profile they are in. Only unsigned samples of 8 or
    16 bits are converted: others are measurements.
    """
    if colour is UNSTATED:
        return UNCHANGED
    if colour.hdr is not None:
        return _plan_hdr(colour.hdr, keep=keep)
    found = _examine(colour, channels <= 2)
    if found.problem:
        return ColourConversion((found.problem,))
    if not found.changes:
        return UNCHANGED
    if (found.space == "gray") != (channels <= 2):
        return ColourConversion((f"the {found.name} is for {found.space_name} pictures and was ignored",))
    if samples not in ("uint8", "uint16"):
        return ColourConversion((f"the {found.name} was not applied: {samples} samples are measurements",))
    if keep:
        return ColourConversion((f"samples are kept as stored, in the {found.name}",))
    return ColourConversion((f"colours converted from the {found.name} to sRGB",), found.profile, channels <= 2)


def _plan_hdr(colour: Colour, *, keep: bool) -> ColourConversion:
    if keep:
        return ColourConversion((f"samples are kept as stored, in {HDR_TRANSFERS[colour.transfer]} (BT.2100)",))
    words = describe(colour, JPEG_COLOUR)
    return ColourConversion(() if words is None else (words,), hdr=colour)


def _hdr_to_srgb(samples: Samples, colour: Colour) -> Samples:
    """(height, width[, 3]) of unsigned 8 or 16 bits -> the same shape and type."""
    deep = samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)
    stored = np.ascontiguousarray(deep if deep.ndim == 3 else np.dstack([deep] * 3))
    frame = VideoFrame.from_ndarray(stored, format="rgb48le").reformat(format=RGB_FORMAT)
    shown = samples_view(apply_cube(frame, colour, JPEG_COLOUR).reformat(format="rgb48le"))
    assert shown is not None
    converted = shown if samples.dtype == np.uint16 else ((shown.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(converted if samples.ndim == 3 else converted[..., 1])


@dataclass(frozen=True, slots=True)
class _Examined:
    """`name` is "profile 'Adobe RGB (1998)'"; `changes`: some colours are not those of sRGB."""

    problem: str = ""
    profile: bytes = b""
    name: str = ""
    space: str = "rgb"
    space_name: str = "colour"
    changes: bool = False


@lru_cache(maxsize=_REMEMBERED_PROFILES)
def _examine(colour: StoredColour, gray: bool) -> _Examined:
    """`gray`: a colour space by numbers is that of a gray picture."""
    if colour.problem:
        return _Examined(colour.problem)
    profile = _build_profile(colour.space, gray=gray) if colour.space else colour.profile
    if profile[36:40] != b"acsp":
        return _Examined(DAMAGED.problem)
    signature, kind = profile[16:20], profile[12:16]
    name = f"colour space {colour.space.name}" if colour.space else f"profile '{_description(profile)}'"
    if kind not in _DESCRIBING_CLASSES or signature not in _SPACES:
        wanted = _SPACE_NAMES.get(signature, "other") if kind in _DESCRIBING_CLASSES else "other"
        return _Examined(f"the {name} is for {wanted} pictures and was ignored")
    space = _SPACES[signature]
    try:
        changes = _changes_colours(profile, space)
    except Exception:  # imagecodecs raises CmsError, and ValueError for what lcms2 makes of some tags
        return _Examined(DAMAGED.problem)
    return _Examined("", profile, name, space, _SPACE_NAMES[signature], changes)


def _build_profile(space: ColourSpace, *, gray: bool) -> bytes:
    """A matrix or gray profile, which lcms2 adapts to D50 (Bradford); empty for primaries that make no sense."""
    import imagecodecs

    curve: dict[str, Any] = {"gamma": space.gamma}
    if space.gamma == SRGB_CURVE:
        curve = {"transferfunction": _srgb_curve()}
    try:
        *primaries, white_x, white_y = space.primaries
        if gray:
            return bytes(imagecodecs.cms_profile("gray", whitepoint=(white_x, white_y), **curve))
        return bytes(imagecodecs.cms_profile("rgb", whitepoint=(white_x, white_y), primaries=primaries, **curve))
    except Exception:  # CmsError
        return b""


def _srgb_curve() -> Samples:
    """Light of 0..1 for evenly spaced values (IEC 61966-2-1), float32."""
    value = np.linspace(0, 1, _CURVE_ENTRIES)
    light: Samples = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return light


def _description(profile: bytes) -> str:
    import io

    from PIL import ImageCms

    try:
        text = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.profile_description or ""
    except Exception:  # OSError, and errors of decoding the text
        text = ""
    return "".join(filter(str.isprintable, text)).strip()[:_NAME_LENGTH] or "without a name"


def _changes_colours(profile: bytes, space: str) -> bool:
    """Whether any of some colours moves by more than one level. Raises CmsError for a damaged profile."""
    if space == "gray":
        table = gray_table(profile, np.dtype(np.uint8).str)
        return bool(np.abs(table.astype(np.int16) - np.arange(256)).max() > 1)
    steps = np.rint(np.linspace(0, 255, _GRID_LEVELS)).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    grays = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, -1, 3)
    colours = np.concatenate([grid, grays], axis=1)
    return bool(np.abs(rgb_to_srgb(colours, profile).astype(np.int16) - colours).max() > 1)
