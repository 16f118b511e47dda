"""Reads WebP containers (RFC 9649) and decodes lossless WebP and WebP with alpha."""

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.chunk_exif import webp_chunks, webp_end, webp_exif
from service.pipeline.images.colour_conversion import ColourConversion
from service.pipeline.images.header import HeaderIncomplete, ImageHeader, damaged
from service.pipeline.images.stored_colour import UNSTATED, profile_colour
from service.pipeline.picture import Samples, composite_over


def webp_header(data: bytes) -> ImageHeader:
    """Raises HeaderIncomplete, MediaUnreadable."""
    chunks = tuple(webp_chunks(data))
    names = [name for name, _, _ in chunks]
    if b"ANIM" in names or b"ANMF" in names:
        raise MediaUnreadable("an animated WebP is not one picture: extract its frames")
    exif = webp_exif(data, chunks, webp_end(data))
    profile = next((data[start:stop] for name, start, stop in chunks if name == b"ICCP"), None)
    colour = UNSTATED if profile is None else profile_colour(profile)
    for name, start, _ in chunks:
        if name in (b"VP8 ", b"VP8L"):
            width, height = _lossy_size(data, start) if name == b"VP8 " else _lossless_size(data, start)
            plain = name == b"VP8 " and b"ALPH" not in names
            return ImageHeader("webp", width, height, 8, 3 if plain else 4, exif, start, plain, not plain, colour)
    raise HeaderIncomplete("the WebP header is cut short")


def require_complete_webp(data: bytes) -> None:
    """Compare the file's length with the one in its container. Raises MediaUnreadable."""
    if len(data) < webp_end(data):
        raise MediaUnreadable("the WebP is truncated: it is shorter than it says")


def decode_webp(data: bytes, background: str, conversion: ColourConversion) -> Samples:
    """(height, width, 3) of uint8, sRGB; transparent pixels show `background`. Raises MediaUnreadable."""
    import imagecodecs

    try:
        samples: Samples = imagecodecs.webp_decode(data, hasalpha=True)
    except MemoryError:
        raise
    except Exception as error:  # WebpError, or an error of NumPy about its result
        raise damaged("WebP", error) from error
    return composite_over(conversion.apply(samples), background)


def _lossy_size(data: bytes, start: int) -> tuple[int, int]:
    """RFC 6386, section 9.1: a tag of three bytes, a start code of three, then width and height of 14 bits each."""
    if len(data) < start + 10:
        raise HeaderIncomplete("the WebP header is cut short")
    if data[start + 3 : start + 6] != b"\x9d\x01\x2a":
        raise MediaUnreadable("the WebP header is damaged")
    size = int.from_bytes(data[start + 6 : start + 10], "little")
    return _require_size(size & 0x3FFF, size >> 16 & 0x3FFF)


def _lossless_size(data: bytes, start: int) -> tuple[int, int]:
    """RFC 9649, section 3.4: a signature byte, then width - 1 and height - 1 of 14 bits each."""
    if len(data) < start + 5:
        raise HeaderIncomplete("the WebP header is cut short")
    if data[start] != 0x2F:
        raise MediaUnreadable("the WebP header is damaged")
    size = int.from_bytes(data[start + 1 : start + 5], "little")
    return _require_size((size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1)


def _require_size(width: int, height: int) -> tuple[int, int]:
    if not width or not height:
        raise MediaUnreadable("the WebP does not give its size")
    return width, height
