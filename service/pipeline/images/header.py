"""What is known of an image before it is decoded: its format, its header, and the limits that apply to it."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.stored_colour import UNSTATED, StoredColour
from service.pipeline.tone.window import Window
from service.plan.formats import BLACK
from service.plan.render_plan import RenderOptions

ImageFormat = Literal["jpeg", "png", "tiff", "webp"]

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXIF_PREFIX = b"Exif\0\0"
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>|\b0x[0-9a-fA-F]{9,}\b")
# A column of the catalogue holds no longer side; samples of 64 bits are the deepest there are.
_LARGEST_SIDE, _MOST_BITS = 2**31 - 1, 64
# Images up to the first limit may compress to any ratio. Deflate, the strongest codec that cameras use, reaches 1032.
_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO = 64 << 20, 2000

# Headers have a handful of parts; a file of empty ones would keep a reader busy for minutes.
MAX_PARTS = 10_000


class HeaderIncomplete(MediaUnreadable):
    """The header is longer than the bytes given: pass more of the file, or treat it as truncated."""


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """`max_pixels` limits width x height; transparent pixels show `background` (#rrggbb); signed, 32-bit and float
    samples need a `window`. With `keep_colours` samples stay in the colours of their profile: an archive holds them as
    they are."""

    max_pixels: int
    background: str = BLACK
    window: Window | None = None
    keep_colours: bool = False

    @classmethod
    def of_render(cls, options: RenderOptions) -> Self:
        """The decoding part of a render's options."""
        window = Window.of(options.tone) if options.tone else None
        return cls(options.max_pixels, options.background, window, options.codec == "ffv1" and window is None)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """`width` x `height` in pixels as stored, before orientation; `exif` is a TIFF structure, empty if there is none.

    `channels` is 1 for gray, 2 for gray with alpha, 3 or 4 for colour. `data_offset` is where the image data begins (of
    a JPEG: the payload of the first SOS marker). A `plain` image has no alpha channel and no palette; one that is
    `see_through` may be blended with the background. `colour` is what the file says beside EXIF.
    """

    format: ImageFormat
    width: int
    height: int
    bit_depth: int
    channels: int
    exif: bytes = b""
    data_offset: int = 0
    plain: bool = True
    see_through: bool = False
    colour: StoredColour = UNSTATED


def detect_format(head: bytes) -> ImageFormat:
    """The format by magic number, never by file name. Raises MediaUnreadable."""
    if not head:
        raise MediaUnreadable("the file is empty")
    if head.startswith(JPEG_MAGIC):
        return "jpeg"
    if head.startswith(PNG_MAGIC):
        return "png"
    if head.startswith(TIFF_MAGICS):
        return "tiff"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    raise MediaUnreadable("not a JPEG, PNG, TIFF or WebP image")


def require_few_parts(count: int, name: str) -> None:
    """Refuse a header of more parts than any program writes. Raises MediaUnreadable."""
    if count > MAX_PARTS:
        raise MediaUnreadable(f"the {name} has more than {MAX_PARTS} parts beside its image data")


def damaged(name: str, error: Exception) -> MediaUnreadable:
    """The error of a codec as a reason that is the same in every process: without the addresses of Python's objects."""
    if isinstance(error, (TypeError, LookupError, ArithmeticError, AttributeError, UnicodeError)):
        return MediaUnreadable(f"the {name} is damaged: its fields contradict each other")  # Python's words say nothing
    text = _OBJECT.sub("", str(error)).strip() or type(error).__name__
    return MediaUnreadable(f"the {name} is damaged: {text}")


def require_plausible(width: int, height: int, bits: int) -> None:
    """Refuse numbers that no picture has, and that the catalogue could not note. Raises MediaUnreadable."""
    if max(width, height) > _LARGEST_SIDE or bits > _MOST_BITS:
        raise MediaUnreadable(f"its header is damaged: no picture has {width}x{height} pixels of {bits} bits")


def require_pixel_limit(width: int, height: int, limit: int) -> None:
    """Refuse images with more than `limit` pixels. Raises MediaUnreadable."""
    if width * height > limit:
        raise MediaUnreadable(f"{width}x{height} is more than the limit of {limit} pixels")


def require_compression_ratio(decoded_bytes: int, stored_bytes: int) -> None:
    """Refuse decompression bombs: large images in very few bytes. Raises MediaUnreadable."""
    if decoded_bytes > max(_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO * stored_bytes):
        raise MediaUnreadable(f"{stored_bytes} bytes that claim to be {decoded_bytes >> 20} MiB of picture")
