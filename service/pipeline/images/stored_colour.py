"""What an image file says of its colours: an ICC profile, or a colour space by numbers."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from service.plan.colour import Colour

# Display profiles with lookup tables take 1 to 4 MiB, the largest ones for print 3 MiB.
MAX_PROFILE_BYTES = 8 << 20
# lcms2 up to 2.18 reads outside of tables whose size does not fit into 32 bits (CVE-2026-41254): those of five or more
# inputs, of up to 255 levels each. Pictures of gray or R'G'B' need one or three.
MAX_TABLE_INPUTS = 4
# ICC.1:2022: the tables of profiles, and how each holds the number of its inputs, at byte 8.
_TABLES = {b"mft1": "B", b"mft2": "B", b"mAB ": "B", b"mBA ": "B", b"clut": ">H"}
_INPUTS_OFFSET = 8

# x and y of red, green, blue and white (IEC 61966-2-1).
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
SRGB_CURVE = 0.0


@dataclass(frozen=True, slots=True)
class ColourSpace:
    """`primaries` are x and y of red, green, blue and white; light is value ** `gamma`, or SRGB_CURVE of the value."""

    name: str
    primaries: tuple[float, ...] = SRGB_PRIMARIES
    gamma: float = SRGB_CURVE


@dataclass(frozen=True, slots=True)
class StoredColour:
    """An ICC `profile`, or a colour `space`, or the code points of `hdr`; samples are sRGB if all are absent.

    `problem` is why a profile in the file cannot be used, in words.
    """

    profile: bytes = b""
    space: ColourSpace | None = None
    problem: str = ""
    hdr: Colour | None = None


UNSTATED = StoredColour()
STATED_SRGB = StoredColour(space=ColourSpace("sRGB"))
# Adobe RGB (1998) Color Image Encoding, version 2005-05: the gamma is 2 + 51/256.
ADOBE_RGB = StoredColour(
    space=ColourSpace("Adobe RGB (1998)", (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290), 563 / 256)
)
DAMAGED = StoredColour(problem="the colour profile is damaged and was ignored")
TOO_LARGE = StoredColour(
    problem=f"the colour profile is larger than {MAX_PROFILE_BYTES >> 20} MiB and was ignored",
)
WIDE_TABLE = StoredColour(
    problem=f"the colour profile has a table of more than {MAX_TABLE_INPUTS} channels and was ignored",
)


def profile_colour(profile: bytes) -> StoredColour:
    """The colours of an ICC profile that is stored in one piece."""
    if len(profile) > MAX_PROFILE_BYTES:
        return TOO_LARGE
    if any(inputs > MAX_TABLE_INPUTS for inputs in _table_inputs(profile)):
        return WIDE_TABLE
    return StoredColour(profile) if profile else DAMAGED


def _table_inputs(profile: bytes) -> Iterator[int]:
    """How many inputs each table has, wherever its signature is: elements are not followed, as they may overlap."""
    for signature, form in _TABLES.items():
        start = profile.find(signature)
        while 0 <= start < len(profile) - _INPUTS_OFFSET - 1:
            yield struct.unpack_from(form, profile, start + _INPUTS_OFFSET)[0]
            start = profile.find(signature, start + 1)
