"""Reads orientation and capture time from EXIF."""

import warnings
from datetime import datetime

from PIL import Image

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_DATETIME_ORIGINAL, _DATETIME_DIGITIZED, _DATETIME = 0x9003, 0x9004, 0x0132
_SUBSECONDS, _OFFSET = 0x9291, 0x9011


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
