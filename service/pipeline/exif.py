"""The three things a render or a catalogue wants from EXIF: which way is up, when, and in which zone."""

from datetime import datetime

from PIL import Image

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_ORIGINAL, _DIGITIZED, _CHANGED = 0x9003, 0x9004, 0x0132
_SUBSECONDS, _OFFSET = 0x9291, 0x9011


def orientation(payload: bytes) -> int:
    """1 to 8; 1 when the payload is absent, damaged, or says something else."""
    value = _load(payload).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def captured_at(payload: bytes) -> datetime | None:
    """DateTimeOriginal with its fraction and offset where given; naive without an offset; None when absent."""
    top = _load(payload)
    fields = dict(top) | (top.get_ifd(_EXIF_IFD) if payload else {})
    taken = fields.get(_ORIGINAL) or fields.get(_DIGITIZED) or fields.get(_CHANGED)
    fraction, offset = str(fields.get(_SUBSECONDS, "")), str(fields.get(_OFFSET, ""))
    return _moment(_plain(str(taken or "")), _plain(fraction), _plain(offset))


def _load(payload: bytes) -> Image.Exif:
    exif = Image.Exif()
    if payload:
        try:
            exif.load(payload)
        except Exception:  # Pillow raises SyntaxError, struct.error, ValueError...: damaged EXIF is no EXIF
            return Image.Exif()
    return exif


def _moment(taken: str, fraction: str, offset: str) -> datetime | None:
    text = f"{taken}.{(fraction or '0')[:6]}{offset}"
    for layout in ("%Y:%m:%d %H:%M:%S.%f%z", "%Y:%m:%d %H:%M:%S.%f"):
        try:
            return datetime.strptime(text, layout)
        except ValueError:
            continue
    return _moment(taken, "", "") if fraction or offset else None


def _plain(text: str) -> str:
    return text.strip("\0 ")
