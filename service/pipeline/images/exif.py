"""Reads orientation, capture time and colour space from EXIF."""

import struct
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
    """Whether a camera says that its picture is in Adobe RGB, as DCF has it instead of a profile.

    Reads three directories by itself: Pillow would take 0.2 ms, of every frame.
    """
    order = {b"II": "<", b"MM": ">"}.get(payload[:2])
    if order is None:
        return False
    try:
        pointer = _entries(payload, payload[4:8], order).get(_EXIF_IFD)
        fields = _entries(payload, pointer, order) if pointer else {}
        pointer = fields.get(_INTEROPERABILITY_IFD)
        index = _entries(payload, pointer, order).get(_INTEROPERABILITY_INDEX, b"") if pointer else b""
        space = fields.get(_COLOUR_SPACE)
        number = None if space is None else struct.unpack_from(order + "H", space)[0]
    except struct.error:
        return False
    return says_adobe_rgb(number, index.strip(b"\0 ").decode("ascii", "replace"))


def _entries(payload: bytes, pointer: bytes, order: str) -> dict[int, bytes]:
    """Tag -> its value, or where that is, of the directory at an offset. Raises struct.error for a damaged one."""
    (offset,) = struct.unpack(order + "I", pointer)
    (count,) = struct.unpack_from(order + "H", payload, offset)
    fields = struct.iter_unpack(order + "HHI4s", payload[offset + 2 : offset + 2 + 12 * count])
    return {tag: value for tag, _, _, value in fields}


def says_adobe_rgb(colour_space: object, interoperability_index: str) -> bool:
    """From the values of EXIF's fields; None for a colour space that is absent."""
    return colour_space == _ADOBE_RGB or (colour_space != _SRGB and interoperability_index == _ADOBE_RGB_INDEX)


def _read_fields(payload: bytes) -> dict[int, object]:
    exif = Image.Exif()
    if not payload:
        return {}
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load(payload)
            return {**dict(exif), **exif.get_ifd(_EXIF_IFD)}
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
