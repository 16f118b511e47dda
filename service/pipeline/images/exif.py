"""Reads orientation and capture time from EXIF."""

import warnings
from datetime import datetime

from PIL import Image

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_DATETIME_ORIGINAL, _DATETIME_DIGITIZED, _DATETIME = 0x9003, 0x9004, 0x0132
_SUBSECONDS, _OFFSET = 0x9291, 0x9011
_COLOUR_SPACE, _INTEROPERABILITY_IFD, _INTEROPERABILITY_INDEX = 0xA001, 0xA005, 1
_SRGB, _ADOBE_RGB = 1, 2
# DCF 2.0: files in Adobe RGB are "R03"; their colour space is uncalibrated (65535), or 2 as some cameras write.
_ADOBE_RGB_INDEX = "R03"
# The index, and the field of a colour space of 2 in both byte orders: all else need not be parsed.
_ADOBE_RGB_SIGNS = (b"R03", b"\x01\xa0\x03\0\x01\0\0\0\x02\0", b"\xa0\x01\0\x03\0\0\0\x01\0\x02")


def orientation(payload: bytes) -> int:
    """1 to 8; 1 if the payload is absent, damaged, or has another value."""
    value = _read_fields(payload).get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def capture_time(payload: bytes) -> datetime | None:
    """DateTimeOriginal, DateTimeDigitized or DateTime, whichever is set first; naive if it has no offset."""
    fields = _read_fields(payload)
    taken = fields.get(_DATETIME_ORIGINAL) or fields.get(_DATETIME_DIGITIZED) or fields.get(_DATETIME)
    fraction, offset = fields.get(_SUBSECONDS), fields.get(_OFFSET)
    return parse_time(_clean_text(taken), _clean_text(fraction), _clean_text(offset))


def is_adobe_rgb(payload: bytes) -> bool:
    """Whether a camera says that its picture is in Adobe RGB, as DCF has it instead of a profile."""
    if not any(sign in payload for sign in _ADOBE_RGB_SIGNS):
        return False
    fields = _read_fields(payload, _EXIF_IFD, _INTEROPERABILITY_IFD)
    index = _clean_text(fields.get(_INTEROPERABILITY_INDEX)) if _INTEROPERABILITY_IFD in fields else ""
    return says_adobe_rgb(fields.get(_COLOUR_SPACE), index)


def says_adobe_rgb(colour_space: object, interoperability_index: str) -> bool:
    """From the values of EXIF's fields; None for a colour space that is absent."""
    return colour_space == _ADOBE_RGB or (colour_space != _SRGB and interoperability_index == _ADOBE_RGB_INDEX)


def _read_fields(payload: bytes, *directories: int) -> dict[int, object]:
    """The fields of the first directory, and of those that it points to (by default EXIF's)."""
    if not payload:
        return {}
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load(payload)
            fields = dict(exif)
            for directory in directories or (_EXIF_IFD,):
                fields |= exif.get_ifd(directory)
            return fields
    except Exception:  # Pillow raises SyntaxError, struct.error, ValueError...: ignore damaged EXIF
        return {}


def parse_time(taken: str, fraction: str = "", offset: str = "") -> datetime | None:
    """From EXIF's texts ("2026:05:04 06:00:00", "125", "+02:00"); an invalid fraction or offset is ignored."""
    text = f"{taken}.{(fraction or '0')[:6]}{offset}"
    for layout in ("%Y:%m:%d %H:%M:%S.%f%z", "%Y:%m:%d %H:%M:%S.%f"):
        try:
            return datetime.strptime(text, layout)
        except ValueError:
            continue
    return parse_time(taken) if fraction or offset else None


def _clean_text(value: object) -> str:
    return value.strip("\0 ") if isinstance(value, str) else ""
