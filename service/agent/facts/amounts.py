"""Amounts with units, in the unit of the columns: "2 GB" in bytes, "5 minutes" in seconds, "4K" in pixels."""

import re
from collections.abc import Iterator

from service.agent.facts.facts import Amount

MAX_AMOUNTS, MAX_NUMBERS, MAX_VALUE = 6, 8, 10**15
BYTES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
BYTES |= {"kilobyte": 10**3, "megabyte": 10**6, "gigabyte": 10**9, "terabyte": 10**12, "go": 10**9, "mo": 10**6}
SECONDS = {"second": 1, "seconde": 1, "sekunde": 1, "sekunden": 1, "segundo": 1, "秒": 1}
SECONDS |= {"minute": 60, "minuten": 60, "minuto": 60, "分钟": 60}
SECONDS |= {"hour": 3600, "stunde": 3600, "stunden": 3600, "heure": 3600, "hora": 3600, "小时": 3600}
SIZES = {"8k": (7680, 4320), "4k": (3840, 2160), "uhd": (3840, 2160), "full hd": (1920, 1080), "2160p": (3840, 2160)}
SIZES |= {"1440p": (2560, 1440), "1080p": (1920, 1080), "720p": (1280, 720), "480p": (854, 480), "vga": (640, 480)}
_NUMBER = r"(?P<number>\d{1,15}(?:[.,]\d{1,9})?)"


def _any_of(words: dict[str, int]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_BYTES = re.compile(rf"{_NUMBER} ?(?P<unit>{_any_of(BYTES)})s?(?!\w)", re.IGNORECASE)
# Not of a time, as "the last 5 minutes", which `times` reads.
_SECONDS = re.compile(rf"{_NUMBER} ?(?P<unit>{_any_of(SECONDS)})s?(?![a-z])(?! ago)", re.IGNORECASE)
_SIZES = re.compile(rf"(?<!\w)(?:{'|'.join(SIZES)})(?!\w)", re.IGNORECASE)
_INTEGERS = re.compile(r"(?<![\w.,:/-])\d{1,15}(?![\w.,:/-]*\d)")


def find_amounts(question: str) -> tuple[Amount, ...]:
    """The amounts that the question names, in the order bytes, seconds, pixels."""
    return tuple(_find_all(question))[:MAX_AMOUNTS]


def find_numbers(question: str) -> tuple[int, ...]:
    """The integers that stand alone in the question, without those of dates and names."""
    return tuple(dict.fromkeys(int(match[0]) for match in _INTEGERS.finditer(question)))[:MAX_NUMBERS]


def _find_all(question: str) -> Iterator[Amount]:
    for match in _BYTES.finditer(question):
        yield Amount(match[0], _value(match, BYTES), "bytes")
    for match in _SECONDS.finditer(question):
        yield Amount(match[0], _value(match, SECONDS), "seconds")
    for match in _SIZES.finditer(question):
        width, height = SIZES[match[0].lower()]
        yield Amount(match[0], width, "pixels of width")
        yield Amount(match[0], height, "pixels of height")


def _value(match: "re.Match[str]", units: dict[str, int]) -> int:
    return min(MAX_VALUE, round(float(match["number"].replace(",", ".")) * units[match["unit"].lower()]))
