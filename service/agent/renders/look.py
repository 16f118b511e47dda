"""What a video looks like, in words: "half size", "720p", "viridis", "with a scale bar", "rotated by 90 degrees"."""

import re
from typing import Any

from service.agent.facts.amounts import SIZES
from service.plan.tone import COLORMAPS

Match = re.Match[str]
SHARES = {"half": 0.5, "quarter": 0.25, "third": 1 / 3, "double": 2.0, "halbe": 0.5, "halber": 0.5}
CODECS = {"h264": "h264", "h265": "hevc", "hevc": "hevc", "av1": "av1", "mjpeg": "mjpeg", "ffv1": "ffv1"}
_WITH = r"(?:\b(?:with|and|showing|plus|mit|und|avec|et|con|y)\b ?)?(?:\b(?:an?|the|einem?|eine[nr]?|une?|una)\b ?)?"
_COLORMAPS = "|".join(COLORMAPS)

SHARE = re.compile(
    r"\b(?:(?:at|in|to) )?(?:an? )?(?P<share>half|quarter|third|double|halber?)"
    r"(?: the| of the| its)?(?: original)? (?:size|resolution|größe|auflösung)\b",
    re.IGNORECASE,
)
HALF_SIZE = re.compile(
    r"(?:à )?(?:la )?moitié (?:de )?(?:la )?taille|(?:a )?(?:la )?mitad del? tamaño|一半(?:大小|尺寸)", re.IGNORECASE
)
PERCENT = re.compile(
    r"(?:\bscaled )?(?:\b(?:down )?(?:at|to|by|auf|à|al) )?(?<![\w.,])(?P<percent>\d{1,3}) ?%"
    r"(?: of)?(?: the)?(?: original)?(?: size| resolution| scale)?",
    re.IGNORECASE,
)
WIDTH_AND_HEIGHT = re.compile(
    r"(?:\b(?:at|in|to|as) )?(?<![\w.,])(?P<width>\d{2,5}) ?[x\u00d7] ?(?P<height>\d{2,5})(?!\w)(?: ?pixels| ?px)?",
    re.IGNORECASE,
)
ONE_SIDE = re.compile(r"(?<![\w.,])(?P<pixels>\d{2,5}) ?(?:px|pixels?) (?P<side>wide|high|tall)\b", re.IGNORECASE)
NAMED_SIZE = re.compile(rf"(?:\b(?:at|in|as) )?(?<!\w)(?P<size>{'|'.join(SIZES)})(?!\w)(?: resolution)?", re.IGNORECASE)
# After a comma or a preposition: it may be a part of a name elsewhere.
COLORMAP = re.compile(
    rf"(?:, ?(?:and )?|\b(?:in|with|using|mit|en|avec|con) |用 ?)(?:the )?(?:colou?r ?map )?"
    rf"(?P<colormap>{_COLORMAPS})\b(?: colou?r ?map| colou?rs)?",
    re.IGNORECASE,
)
INVERTED = re.compile(
    r"\b(?:inverted(?: colou?rs| gray)?|as a negative|invertiert|inversée?|invertid[oa])\b", re.IGNORECASE
)
SCALE_BAR = re.compile(
    rf"{_WITH}(?:(?P<before>\d{{1,6}}(?:\.\d{{1,3}})?) ?(?P<unit>nm|[uµμ]m|mm|cm|m) )?"
    r"(?:带 ?)?(?:scale ?bar|ma(?:ß|ss)stabs?(?:balken)?|barre d['\u2019]échelle|barra de escala|比例尺|标尺)"
    r"(?: of (?P<after>\d{1,6}(?:\.\d{1,3})?) ?(?P<unit_after>nm|[uµμ]m|mm|cm|m)\b)?",
    re.IGNORECASE,
)
CAPTURE_TIMES = re.compile(
    rf"{_WITH}(?:time ?stamps?|capture times?|zeitstempeln?|horodatage|marcas? de tiempo|时间戳)", re.IGNORECASE
)
FRAME_NUMBERS = re.compile(
    rf"{_WITH}(?:frame (?:numbers?|index|indices)|bildnummern?|numéros? d['\u2019]image|帧号)", re.IGNORECASE
)
ELAPSED = re.compile(rf"{_WITH}(?:elapsed times?|timer|running clock)\b", re.IGNORECASE)
ROTATED = re.compile(
    r"\brotated?(?: by)? (?P<degrees>90|180|270)(?: ?°| degrees?)?"
    r"(?P<left> (?:counter-? ?|anti-?)clockwise| to the left)?(?: clockwise| to the right)?|\b(?P<down>upside down)\b",
    re.IGNORECASE,
)
CODEC = re.compile(
    r"(?:\b(?:as|in|with|using|to|mit|als|en|avec|con) )?(?:\ban? )?\b"
    r"(?P<codec>h\.?26[45]|hevc|av1|mjpeg|ffv1)\b(?: video)?|\b(?P<lossless>lossless)(?:ly)?\b",
    re.IGNORECASE,
)


def read_share(match: Match) -> dict[str, Any]:
    return {"scale": SHARES[match["share"].lower()]}


def read_half(_match: Match) -> dict[str, Any]:
    return {"scale": 0.5}


def read_percent(match: Match) -> dict[str, Any]:
    return {"scale": int(match["percent"]) / 100}


def read_width_and_height(match: Match) -> dict[str, Any]:
    return {"width": int(match["width"]), "height": int(match["height"])}


def read_side(match: Match) -> dict[str, Any]:
    return {"width" if match["side"].lower() == "wide" else "height": int(match["pixels"])}


def read_named_size(match: Match) -> dict[str, Any]:
    """720p is a height, 4K a width."""
    name = match["size"].lower()
    width, height = SIZES[name]
    return {"height": height} if name.endswith("p") else {"width": width}


def read_colormap(match: Match) -> dict[str, Any]:
    return {"tone": {"colormap": match["colormap"].lower()}}


def read_inverted(_match: Match) -> dict[str, Any]:
    return {"tone": {"inverse": True}}


def read_scale_bar(match: Match) -> dict[str, Any]:
    length, unit = match["before"] or match["after"], match["unit"] or match["unit_after"]
    if length is None:
        return {"overlay": {"scale_bar": {}}}
    return {"overlay": {"scale_bar": {"length": float(length), "unit": re.sub("^[µμ]", "u", unit.lower())}}}


def read_capture_times(_match: Match) -> dict[str, Any]:
    return {"overlay": {"captured_at": True}}


def read_frame_numbers(_match: Match) -> dict[str, Any]:
    return {"overlay": {"frame_index": True}}


def read_elapsed(_match: Match) -> dict[str, Any]:
    return {"overlay": {"elapsed": True}}


def read_rotation(match: Match) -> dict[str, Any]:
    degrees = 180 if match["down"] else int(match["degrees"])
    return {"rotate": 360 - degrees if match["left"] else degrees}


def read_codec(match: Match) -> dict[str, Any]:
    return {"codec": "ffv1" if match["lossless"] else CODECS[match["codec"].lower().replace(".", "")]}


RULES = (
    (SHARE, read_share),
    (HALF_SIZE, read_half),
    (PERCENT, read_percent),
    (WIDTH_AND_HEIGHT, read_width_and_height),
    (ONE_SIDE, read_side),
    (NAMED_SIZE, read_named_size),
    (COLORMAP, read_colormap),
    (INVERTED, read_inverted),
    (SCALE_BAR, read_scale_bar),
    (CAPTURE_TIMES, read_capture_times),
    (FRAME_NUMBERS, read_frame_numbers),
    (ELAPSED, read_elapsed),
    (ROTATED, read_rotation),
    (CODEC, read_codec),
)
