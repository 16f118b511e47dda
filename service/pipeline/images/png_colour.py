"""Reads the colour chunks of a PNG (PNG 3, section 11.3.2): cICP before iCCP before sRGB before cHRM and gAMA."""

import struct
import zlib
from collections.abc import Mapping

from service.pipeline.images.stored_colour import (
    DAMAGED,
    MAX_PROFILE_BYTES,
    SRGB_CURVE,
    SRGB_PRIMARIES,
    STATED_SRGB,
    TOO_LARGE,
    UNSTATED,
    ColourSpace,
    StoredColour,
    profile_colour,
)
from service.plan.colour import BT2020, HDR_TRANSFERS, SMPTE2084, Colour

# The chunks, and how many bytes each has to have; profiles have any number.
COLOUR_CHUNKS = {b"cICP": 4, b"iCCP": None, b"sRGB": 1, b"cHRM": 32, b"gAMA": 4}
_DEFLATE = 0
# The reciprocal of 2.2, which the sRGB chunk's description tells writers to add: libpng takes what is within 5 % of it
# for sRGB's curve, and chromaticities within 0.01 for sRGB's.
_SRGB_GAMA, _GAMA_TOLERANCE, _CHRM_TOLERANCE = 0.45455, 0.05, 0.01
_D65 = (0.3127, 0.3290)
# Numbers of H.273: x and y of red, green, blue and white.
_CICP_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_CICP_NAMES = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
# BT.709's camera curve and its relatives are shown with sRGB's, as source videos are.
_CICP_GAMMAS = {1: SRGB_CURVE, 4: 2.2, 5: 2.8, 6: SRGB_CURVE, 8: 1.0, 13: SRGB_CURVE, 14: SRGB_CURVE, 15: SRGB_CURVE}
_CICP_RGB, _CICP_FULL_RANGE = 0, 1
# An older way to say PQ: the name of the profile, which only approximates it (W3C note "Using PQ in PNG").
_PQ_PROFILE_NAME, _PQ = b"ITUR_2100_PQ_FULL", Colour(_CICP_RGB, BT2020, SMPTE2084)


def png_colour(chunks: Mapping[bytes, bytes]) -> StoredColour:
    """From the bodies of the chunks before the image data."""
    for name, size in COLOUR_CHUNKS.items():
        if name in chunks and len(chunks[name]) != (size or len(chunks[name])):
            return StoredColour(problem=f"the PNG's {name.decode()} chunk is damaged and was ignored")
    if b"cICP" in chunks:
        return _coding_independent(chunks[b"cICP"])
    if b"iCCP" in chunks:
        return _embedded_profile(chunks[b"iCCP"])
    if b"sRGB" in chunks:
        return STATED_SRGB
    if b"cHRM" in chunks or b"gAMA" in chunks:
        return _by_numbers(chunks.get(b"cHRM"), chunks.get(b"gAMA"))
    return UNSTATED


def _coding_independent(body: bytes) -> StoredColour:
    primaries, transfer, matrix, full_range = body
    known = primaries in _CICP_PRIMARIES and (transfer in _CICP_GAMMAS or transfer in HDR_TRANSFERS)
    if not known or matrix != _CICP_RGB or full_range != _CICP_FULL_RANGE:
        numbers = "/".join(map(str, body))
        return StoredColour(problem=f"the PNG's colour code cICP {numbers} is not supported and was ignored")
    if transfer in HDR_TRANSFERS:
        return StoredColour(hdr=Colour(matrix, primaries, transfer))
    name = _CICP_NAMES.get(primaries, f"primaries {primaries}") + f" (cICP {'/'.join(map(str, body))})"
    return StoredColour(space=ColourSpace(name, _CICP_PRIMARIES[primaries], _CICP_GAMMAS[transfer]))


def _embedded_profile(body: bytes) -> StoredColour:
    """A name, a zero byte, the compression method, then the profile, of which no more than the limit is unpacked."""
    name, _, rest = body.partition(b"\0")
    if not name or not rest or rest[0] != _DEFLATE:
        return DAMAGED
    if name == _PQ_PROFILE_NAME:
        return StoredColour(hdr=_PQ)
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(rest[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return DAMAGED
    if len(profile) > MAX_PROFILE_BYTES:
        return TOO_LARGE
    return profile_colour(profile) if unpacker.eof else DAMAGED


def _by_numbers(chromaticities: bytes | None, gamma: bytes | None) -> StoredColour:
    """What browsers show: without cHRM sRGB's primaries, without gAMA its curve."""
    primaries = SRGB_PRIMARIES
    if chromaticities is not None:
        white_x, white_y, *rgb = (value / 100_000 for value in struct.unpack(">8I", chromaticities))
        primaries = (*rgb, white_x, white_y)
    exponent = SRGB_CURVE
    if gamma is not None:
        gama = struct.unpack(">I", gamma)[0] / 100_000
        if not 0.1 <= gama <= 10:
            return StoredColour(problem=f"the PNG's gamma of {gama:g} makes no sense and was ignored")
        exponent = 1 / gama
        if _is_srgb(primaries) and abs(gama / _SRGB_GAMA - 1) < _GAMA_TOLERANCE:
            exponent = SRGB_CURVE
    if _is_srgb(primaries) and exponent == SRGB_CURVE:
        return STATED_SRGB
    return StoredColour(space=ColourSpace("of the PNG's cHRM and gAMA", primaries, exponent))


def _is_srgb(primaries: tuple[float, ...]) -> bool:
    pairs = zip(primaries, SRGB_PRIMARIES, strict=True)
    return all(abs(one - other) <= _CHRM_TOLERANCE for one, other in pairs)
