"""ICC profiles written by the bytes of ICC.1 (v2: 2001, v4: 2010), and the arithmetic of matrix profiles."""

import struct
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB, ADOBE, P3, PROPHOTO = (
    ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
    ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)),
)
Primaries = tuple[tuple[float, float], ...]


def profile(space: bytes, tags: dict[bytes, bytes], name: str, version: int = 2, kind: bytes = b"mntr") -> bytes:
    """A profile of these tagged elements."""
    tags = {b"desc": _description(name, version), b"cprt": _text(version), b"wtpt": _xyz(D50)} | tags
    body, table, offset = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for signature, element in tags.items():
        table += signature + struct.pack(">II", offset + len(body), len(element))
        body += element + bytes(-len(element) % 4)
    header = struct.pack(">II", offset + len(body), 0) + bytes([version, 0x20 if version == 2 else 0, 0, 0])
    header += kind + space + (b"Lab " if b"A2B0" in tags else b"XYZ ") + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header += b"acsp" + bytes(28) + _s15(*D50) + bytes(48)
    assert len(header) == 128
    return header + table + body


def matrix(primaries: Primaries, curve: bytes, name: str, version: int = 2) -> bytes:
    """An R'G'B' profile of three primaries and one curve."""
    columns = to_xyz(primaries).T
    tags = {b"rXYZ": _xyz(columns[0]), b"gXYZ": _xyz(columns[1]), b"bXYZ": _xyz(columns[2])}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name, version)


def gray(curve: bytes, name: str, version: int = 2) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve}, name, version)


def lookup(name: str, version: int = 2) -> bytes:
    """An R'G'B' profile whose colours come from a table of L*a*b* (lut16Type), warmer and softer than sRGB."""
    steps = np.linspace(0, 1, 9)
    r, g, b = np.meshgrid(steps, steps, steps, indexing="ij")
    light = 10 + 85 * (0.3 * r + 0.55 * g + 0.15 * b)
    lab = np.stack([light, 60 * (r - g) + 4, 50 * (0.5 * (r + g) - b) + 6], axis=-1)
    levels = np.stack([lab[..., 0] / 100 * 65280, (lab[..., 1] + 128) * 256, (lab[..., 2] + 128) * 256], axis=-1)
    identity = struct.pack(">2H", 0, 65535) * 3
    table = b"mft2" + bytes(4) + bytes([3, 3, 9, 0]) + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">2H", 2, 2)
    table += identity + np.rint(levels).clip(0, 65535).astype(">u2").tobytes() + identity
    return profile(b"RGB ", {b"A2B0": table}, name, version)


def wide_lookup(sizes: tuple[int, ...], entries: int) -> bytes:
    """An R'G'B' profile that widens three channels to five, looks them up in a table, and narrows them (ICC.1:2010, 10.14)."""
    widen = b"matf" + bytes(4) + struct.pack(">HH", 3, 5) + struct.pack(">20f", *np.eye(5, 3).flat, *[0] * 5)
    narrow = b"matf" + bytes(4) + struct.pack(">HH", 1, 3) + struct.pack(">6f", 1, 1, 1, 0, 0, 0)
    found = b"clut" + bytes(4) + struct.pack(">HH16s", 5, 1, bytes(sizes)) + struct.pack(">f", 0.5) * entries
    head, body = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, 3), b""
    for element in (widen, found, narrow):
        head += struct.pack(">II", 16 + 3 * 8 + len(body), len(element))
        body += element
    columns = to_xyz(ADOBE).T
    tags = {b"rXYZ": _xyz(columns[0]), b"gXYZ": _xyz(columns[1]), b"bXYZ": _xyz(columns[2]), b"D2B1": head + body}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(1.8)), "wide", 4)


def gamma(exponent: float) -> bytes:
    """curveType with one value, in 1/256."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def table(values: Array) -> bytes:
    """curveType of values of 0..1."""
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def parametric(*numbers: float) -> bytes:
    """parametricCurveType 3: g, a, b, c, d."""
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _s15(*numbers)


def dot_gain_20() -> bytes:
    """The gray of a press whose 50 % dots print as 70 %: the reflected light of each level."""
    ink = 1 - np.linspace(0, 1, 256)
    return table(1 - np.clip(ink + 0.8 * ink * (1 - ink), 0, 1))


def srgb_light(values: Array) -> Array:
    """Light of 0..1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries: Primaries) -> Array:
    """R'G'B' light -> XYZ under D50 (SMPTE RP 177, then Bradford's adaptation)."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ xyz[:, 3]))
    adapted: Array = np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ matrix
    return adapted


def to_srgb(values: Array, primaries: Primaries, exponent: float) -> Array:
    """Values of 0..1 of a matrix profile with a power curve -> sRGB values of 0..1, clipped."""
    light = (values**exponent) @ to_xyz(primaries).T @ np.linalg.inv(to_xyz(SRGB)).T
    light = light.clip(0, 1)
    found: Array = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return found


def _description(name: str, version: int) -> bytes:
    if version == 4:
        text = name.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    return b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + b"\0" + bytes(78)


def _text(version: int) -> bytes:
    return _description("none", 4) if version == 4 else b"text" + bytes(4) + b"none\0"


def _xyz(values: Array) -> bytes:
    return b"XYZ " + bytes(4) + _s15(*values)


def _s15(*numbers: float) -> bytes:
    """s15Fixed16Number."""
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


SRGB_CURVE = parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Adobe RGB (1998), 4.3.4.2: 2 + 51/256.
ADOBE_GAMMA = 563 / 256
PROFILES = {
    "Adobe": matrix(ADOBE, gamma(ADOBE_GAMMA), "Adobe RGB (1998)"),
    "Adobe v4": matrix(ADOBE, gamma(ADOBE_GAMMA), "Adobe RGB", 4),
    "Display P3": matrix(P3, SRGB_CURVE, "Display P3", 4),
    "ProPhoto": matrix(PROPHOTO, gamma(1.8), "ProPhoto RGB"),
    "lookup": lookup("a scanner"),
    "lookup v4": lookup("a scanner", 4),
}
GRAY_PROFILES = {
    "gamma 1.8": gray(gamma(1.8), "Gray Gamma 1.8"),
    "gamma 2.2": gray(gamma(2.2), "Gray Gamma 2.2", 4),
    "linear": gray(gamma(1), "Linear Gray"),
    "dot gain": gray(dot_gain_20(), "Dot Gain 20%"),
}
SRGB_PROFILES = {
    "v2": matrix(SRGB, table(srgb_light(np.linspace(0, 1, 1024))), "sRGB IEC61966-2.1"),
    "v4": matrix(SRGB, SRGB_CURVE, "sRGB v4", 4),
    "gray": gray(SRGB_CURVE, "sGray", 4),
}
