"""Reads the image file directories (IFDs) of a TIFF or BigTIFF without decoding anything.

TIFF 6.0, section 2; BigTIFF is version 43, with 8-byte offsets and counts.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, NamedTuple

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images import exif

_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _SAMPLES, _SUBFILE_TYPE = 256, 257, 258, 274, 277, 254
_EXIF_DIRECTORY = 34665
_COMPRESSION, _PHOTOMETRIC, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 259, 262, 338, 339
# Photometric interpretations whose samples are no colours of a screen.
_UNSUPPORTED_COLOURS = {
    4: "a TIFF that is a transparency mask is not a picture",
    5: "a CMYK TIFF is for print, its colours have no meaning on a screen: save it as RGB",
    8: "a TIFF in L*a*b* colours is not supported: save it as RGB",
    9: "a TIFF in L*a*b* colours (ICCLAB) is not supported: save it as RGB",
    10: "a TIFF in L*a*b* colours (ITULAB) is not supported: save it as RGB",
    32803: "a raw picture of a camera's sensor (CFA) is not supported: develop it first, and save it as RGB",
    32844: "a TIFF of logarithmic luminance (LogL) is not supported: save it as float32",
    32845: "a TIFF of logarithmic colours (LogLuv) is not supported: save it as RGB",
    34892: "a raw picture (LinearRaw) is not supported: develop it first, and save it as RGB",
}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_STRUCT_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_REDUCED_IMAGE, _MASK = 1, 4
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG, _ALPHA_KINDS = 7, (1, 2)
MAX_SAMPLES = 4
# CCITT RLE, group 3, group 4.
FAX_COMPRESSIONS = (2, 3, 4)
# None, fax, LZW, JPEG, Deflate, PackBits, Deflate's older number, LZMA, Zstandard.
COMPRESSIONS = (1, *FAX_COMPRESSIONS, 5, _JPEG, 8, 32773, 32946, 34925, 50000)
_MAX_FIELDS, _MAX_PAGES = 4096, 1_000_000


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """One page. `offset` is the byte where its directory begins; sizes are in pixels as stored.

    `compression`, `photometric`, `extra_samples` (what the first one is) and `sample_format` (1 unsigned, 2 signed, 3
    float) have the numbers of TIFF 6.0.
    """

    offset: int
    width: int
    height: int
    bits_per_sample: int
    samples_per_pixel: int
    orientation: int
    subfile_type: int
    compression: int
    photometric: int
    extra_samples: int
    sample_format: int
    captured_at: datetime | None

    @property
    def is_picture(self) -> bool:
        """False for thumbnails, pyramid levels and transparency masks."""
        return not self.subfile_type & (_REDUCED_IMAGE | _MASK)


def tiff_channels(page: TiffDirectory) -> int:
    """Channels that a page shows: 1 gray, 2 gray with alpha, 3 RGB, 4 RGB with alpha; 0 if it cannot be shown.

    Samples that are neither a colour nor alpha are left out.
    """
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, PALETTE: 3}.get(page.photometric, 0)
    if page.photometric == _YCBCR and page.compression == _JPEG:
        colours = 3
    stored = 1 if page.photometric == PALETTE else colours
    storable = stored <= page.samples_per_pixel <= MAX_SAMPLES and page.compression in COMPRESSIONS
    if not colours or not storable:
        return 0
    alpha = page.samples_per_pixel > stored and page.extra_samples in _ALPHA_KINDS and page.photometric != PALETTE
    return colours + alpha


@dataclass(frozen=True, slots=True)
class _ByteLayout:
    """Byte order and the sizes of counts and offsets."""

    order: str
    big: bool

    def read_number(self, file: BinaryIO, size: int) -> int:
        letter = {2: "H", 4: "I", 8: "Q"}[size]
        return int(struct.unpack(self.order + letter, _read_exactly(file, size))[0])

    @property
    def offset_size(self) -> int:
        return 8 if self.big else 4


def require_supported_colours(photometric: int) -> None:
    """Refuse samples that are no gray levels and no colours of a screen, by name. Raises MediaUnreadable."""
    if reason := _UNSUPPORTED_COLOURS.get(photometric):
        raise MediaUnreadable(reason)


def read_directories(file: BinaryIO, size: int | None = None) -> Iterator[TiffDirectory]:
    """Every page in order. Raises MediaUnreadable at the first damaged one, and if the chain of directories loops.

    `file` may be the beginning of one of `size` bytes; a capture time that lies behind it is then damage too.
    """
    partial = size is not None and file.seek(0, io.SEEK_END) < size
    file.seek(0)
    head = _read_exactly(file, 8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack((order or "<") + "H", head[2:4])[0]
    if order is None or version not in (42, 43):
        raise MediaUnreadable("the TIFF is damaged: it does not begin as one")
    layout = _ByteLayout(order, version == 43)
    file.seek(8 if layout.big else 4)
    offset, seen = layout.read_number(file, layout.offset_size), set[int]()
    if not offset:
        raise MediaUnreadable("the TIFF has no picture in it")
    while offset:
        if offset in seen or len(seen) >= _MAX_PAGES:
            raise MediaUnreadable("the TIFF is damaged: its directories do not come to an end")
        seen.add(offset)
        file.seek(offset)
        fields = _read_fields(file, layout)
        following = layout.read_number(file, layout.offset_size)
        yield _to_directory(file, layout, offset, fields, _captured_at(file, layout, fields, partial))
        offset = following


class _Field(NamedTuple):
    """`length` values of type `kind`; `value` has their bytes or, if they do not fit, their offset in the file."""

    kind: int
    length: int
    value: bytes


def _read_fields(file: BinaryIO, layout: _ByteLayout) -> dict[int, _Field]:
    """Tag -> field. Afterwards the file is positioned at the offset of the next directory."""
    count = layout.read_number(file, 8 if layout.big else 2)
    if not 0 < count <= _MAX_FIELDS:
        raise MediaUnreadable("the TIFF is damaged: a directory is out of place")
    size = 20 if layout.big else 12
    entries = _read_exactly(file, size * count)
    fields = {}
    for start in range(0, len(entries), size):
        tag, kind, length = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), entries, start)
        fields[tag] = _Field(kind, length, entries[start + size - layout.offset_size : start + size])
    return fields


def _captured_at(file: BinaryIO, layout: _ByteLayout, fields: dict[int, _Field], partial: bool) -> datetime | None:
    """From the page's own fields and from the EXIF directory that it names. Damage is ignored unless `partial`."""
    try:
        texts = _texts(file, layout, fields)
        if _EXIF_DIRECTORY in fields:
            file.seek(_field_number(file, layout, fields[_EXIF_DIRECTORY]))
            texts |= _texts(file, layout, _read_fields(file, layout))
    except (MediaUnreadable, ValueError, OverflowError):
        if partial:
            raise
        return None
    return exif.time_of_fields(texts)


def _texts(file: BinaryIO, layout: _ByteLayout, fields: dict[int, _Field]) -> dict[int, str]:
    """The fields that say when the picture was taken."""
    found = {tag: _field_bytes(file, layout, fields[tag]) for tag in exif.TIME_TAGS if tag in fields}
    return {tag: data.decode("ascii", "replace").strip("\0 ") for tag, data in found.items()}


def _to_directory(
    file: BinaryIO, layout: _ByteLayout, offset: int, fields: dict[int, _Field], captured_at: datetime | None
) -> TiffDirectory:
    def number(tag: int, default: int) -> int:
        return _field_number(file, layout, fields[tag]) if tag in fields else default

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    if not width or not height:
        raise MediaUnreadable("the TIFF does not give its size")
    orientation = number(_ORIENTATION, 1)
    return TiffDirectory(
        offset=offset,
        width=width,
        height=height,
        bits_per_sample=number(_BITS, 1),
        samples_per_pixel=number(_SAMPLES, 1),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        subfile_type=number(_SUBFILE_TYPE, 0),
        compression=number(_COMPRESSION, 1),
        photometric=number(_PHOTOMETRIC, 1),
        extra_samples=number(_EXTRA_SAMPLES, 0),
        sample_format=number(_SAMPLE_FORMAT, 1),
        captured_at=captured_at,
    )


def _field_number(file: BinaryIO, layout: _ByteLayout, field: _Field) -> int:
    """The first value of a field."""
    if field.kind not in _STRUCT_CODES or not field.length:
        raise MediaUnreadable("the TIFF is damaged: a field has a type that makes no sense")
    data = _field_bytes(file, layout, field._replace(length=1), field.length)
    return int(struct.unpack_from(layout.order + _STRUCT_CODES[field.kind], data)[0])


def _field_bytes(file: BinaryIO, layout: _ByteLayout, field: _Field, stored_length: int | None = None) -> bytes:
    """The bytes of the first `field.length` values, at most 64, of the `stored_length` values in the file."""
    size = _TYPE_SIZES.get(field.kind, 1)
    if size * (stored_length or field.length) <= layout.offset_size:
        return field.value[: size * field.length]
    file.seek(struct.unpack(layout.order + ("Q" if layout.big else "I"), field.value)[0])
    return _read_exactly(file, min(size * field.length, 64))


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise MediaUnreadable("the TIFF is cut short: a directory lies beyond its end")
    return data
