"""How fast a video shows its frames, in words: "at 24 fps", "every 4th frame", "in 30 seconds", "twice as fast"."""

import re
from typing import Any

Match = re.Match[str]
ORDINALS = {"other": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "tenth": 10}
NUMBERS = {"half a": 0.5, "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "thirty": 30}
NUMBERS |= {"einer": 1, "une": 1, "un": 1, "deux": 2, "dos": 2, "zwei": 2, "double": 2, "doppelt": 2, "half": 0.5}
NUMBERS |= {"twice": 2, "halb": 0.5}
_NUMBER_WORDS = "half a|a|one|two|three|four|five|ten|thirty|einer|zwei|une|un|deux|dos"
_COUNT = rf"(?<![\w.,])(?P<number>\d{{1,7}}(?:[.,]\d{{1,3}})?|{_NUMBER_WORDS})"
_UNIT = r"(?P<unit>s|se[ck]s?|seconds?|sekunden?|secondes?|segundos?|mins?|minutes?|minuten?|minutos?)\b"
_VIDEO = r"(?:videos?|movie|film|clip|time-?lapse|vidéo|vídeo)"
_TIMES = r"(?:times|mal|fois|veces) (?:as fast|faster|so schnell|plus (?:vite|rapide)|más rápido)"
_REAL_TIME = "(?:real[- ]?time|original speed)"
_AS_WHAT = rf"(?: {_REAL_TIME}| (?:as|than) (?:{_REAL_TIME}|it happened|recorded))?"

FRAME_RATE = re.compile(
    r"(?:\b(?:at|with|in|and|of) )?(?<![\w.-])(?P<fps>\d{1,9}(?:\.\d{1,9})?) ?"
    r"(?:fps|frames per second|frames a second)\b",
    re.IGNORECASE,
)
DECIMATION = re.compile(
    r"(?:\b(?:with|using|and|keeping|keep|taking|take|use|from|of|only|just) ){0,4}\b(?:"
    r"every (?:(?P<nth>\d{1,9})(?:st|nd|rd|th)? |(?P<word>other|second|third|fourth|fifth|tenth) )?frames?"
    r"|one (?:frame )?(?:in|of|out of) (?P<of>\d{1,9})(?: frames)?"
    r"|decimat(?:ion|ed|e)(?: factor)?(?: of| by)? (?P<by>\d{1,9}))\b",
    re.IGNORECASE,
)
# Of the video. "the first 30 seconds" are a part of the frames, and "every 30 seconds" is something else.
LASTING = re.compile(
    rf"\b(?:in|within|lasting|that lasts|takes?|auf|en|dans)(?: about| exactly| only| just)? {_COUNT}[ -]?{_UNIT}",
    re.IGNORECASE,
)
LONG = re.compile(
    rf"(?:\b(?:and|be|with) )?{_COUNT}[ -]?{_UNIT}(?:[ -](?:long|lang)\b|(?=[ -]?{_VIDEO}))", re.IGNORECASE
)
OF_LENGTH = re.compile(rf"(?:(?<=video )|(?<=movie )|(?<=film )|(?<=clip ))of {_COUNT}[ -]?{_UNIT}", re.IGNORECASE)
CHINESE_LENGTH = re.compile(r"在? ?(?P<number>\d{1,5}) ?(?P<unit>秒|分钟)[内长的]?")
TIMES_AS_FAST = re.compile(rf"(?:\bat )?{_COUNT} ?-?{_TIMES}{_AS_WHAT}", re.IGNORECASE)
FACTOR = re.compile(
    rf"(?:\bat )?(?<![\w.,])(?P<number>\d{{1,7}}(?:\.\d{{1,3}})?) ?[x\u00d7倍](?! ?\d)(?:速|(?![^\W\d_]))"
    rf"(?: speed| faster| as fast)?{_AS_WHAT}",
    re.IGNORECASE,
)
TWICE = re.compile(
    rf"\b(?P<number>twice|doppelt|half|halb) (?:as fast|so schnell)\b{_AS_WHAT}|el doble de rápido|两倍速",
    re.IGNORECASE,
)
DOUBLE = re.compile(rf"\b(?:at )?(?P<number>double|half)(?: the)? speed\b{_AS_WHAT}", re.IGNORECASE)
REAL_TIME = re.compile(
    rf"\b(?:in|at) {_REAL_TIME}\b|\bas fast as it happened\b|\bin echtzeit\b|\ben temps réel\b|\ben tiempo real\b|实时",
    re.IGNORECASE,
)


def read_rate(match: Match) -> dict[str, Any]:
    return {"fps": float(match["fps"])}


def read_decimation(match: Match) -> dict[str, Any]:
    number = match["nth"] or match["of"] or match["by"]
    return {"decimation_factor": int(number) if number else ORDINALS.get((match["word"] or "").lower(), 1)}


def read_duration(match: Match) -> dict[str, Any]:
    is_minutes = match["unit"].lower().startswith(("m", "分"))
    return {"duration_seconds": _number(match["number"]) * (60 if is_minutes else 1)}


def read_speed(match: Match) -> dict[str, Any]:
    """Times as fast as it was captured."""
    return {"timing": "captured", "speed": _number(match["number"] or "double")}


def read_real_time(_match: Match) -> dict[str, Any]:
    return {"timing": "captured", "speed": 1.0}


def _number(words: str) -> float:
    return NUMBERS.get(words.lower()) or float(words.replace(",", "."))


RULES = (
    (FRAME_RATE, read_rate),
    (DECIMATION, read_decimation),
    (LASTING, read_duration),
    (LONG, read_duration),
    (OF_LENGTH, read_duration),
    (CHINESE_LENGTH, read_duration),
    (TIMES_AS_FAST, read_speed),
    (FACTOR, read_speed),
    (TWICE, read_speed),
    (DOUBLE, read_speed),
    (REAL_TIME, read_real_time),
)
