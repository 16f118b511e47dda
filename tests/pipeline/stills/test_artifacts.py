"""The segments' parts become a preview strip and a keogram with the right frames at the right times."""

import io
import itertools
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.pipeline.stills.artifacts import (
    MAX_KEOGRAM_COLUMNS,
    MAX_TILES,
    SPRITE_COLUMNS,
    Keogram,
    PreviewStrip,
    SegmentArtifacts,
    keogram_height,
    tile_size,
)
from service.plan.formats import ARTIFACT_FILES, canonical_outputs
from tests.pipeline.rendering import numbered_jpegs, options, render
from tests.support.data import media

BOTH_OUTPUTS = ("preview_strip", "keogram")
LENGTHS = (12, 24, 39, 20)
LEVELS = [20 + 2 * number for number in range(sum(LENGTHS))]


def gray_jpegs(levels: list[int]) -> list[bytes | None]:
    return [media.jpeg(np.full((96, 128, 3), level, np.uint8)) for level in levels]


def segment_pieces(frames: list[bytes | None], name: str, **more: Any) -> list[tuple[bytes, Fraction]]:
    """The part of each segment, and the time at which it begins."""
    ends = list(itertools.accumulate(LENGTHS))
    results = [
        render(frames[end - count : end], outputs=BOTH_OUTPUTS, **more)
        for count, end in zip(LENGTHS, ends, strict=True)
    ]
    starts = [Fraction(end - count, 30) for count, end in zip(LENGTHS, ends, strict=True)]
    return [(result.artifacts[name], start) for result, start in zip(results, starts, strict=True)]


def decode_image(data: bytes) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("codec", ["h264", "mjpeg", "ffv1"])
def test_every_cue_shows_the_picture_of_its_time(codec: str) -> None:
    strip = PreviewStrip(tile_size(128, 96))
    for piece, start in segment_pieces(numbered_jpegs(sum(LENGTHS)), ARTIFACT_FILES["preview_strip"], codec=codec):
        strip.add(piece, start)
    sprite, cues = strip.finish(Fraction(sum(LENGTHS), 30))
    sheet = decode_image(sprite)
    found = re.findall(r"(\S+) --> (\S+)\npreview\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", cues.decode())
    assert cues.startswith(b"WEBVTT\n") and found[-1][1] == "00:00:03.167"
    for begin, _, *area in found:
        x, y, w, h = map(int, area)
        assert media.read_number(sheet[y : y + h, x : x + w]) == round(parse_webvtt_time(begin) * 30)
    ends = [(begin, end) for begin, end, *_ in found]
    assert ends[0][0] == "00:00:00.000" and all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert len(found) == 5, "one at the beginning of each segment, and one for each further second"


def parse_webvtt_time(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_the_keogram_has_a_column_for_each_frame(codec: str) -> None:
    keogram = Keogram(sum(LENGTHS), keogram_height(96))
    for piece, _ in segment_pieces(gray_jpegs(LEVELS), ARTIFACT_FILES["keogram"], codec=codec):
        keogram.add(piece)
    image = decode_image(keogram.finish())
    assert image.shape == (96, sum(LENGTHS), 3)
    assert np.abs(image[48].astype(int) - np.array(LEVELS)[:, None]).max() <= 2


def test_the_column_is_the_middle_one() -> None:
    pixels = np.full((96, 128, 3), 200, np.uint8)
    pixels[:, 60:68] = (200, 30, 30)
    image = decode_image(
        render([media.jpeg(pixels, subsampling="4:4:4")], outputs=BOTH_OUTPUTS).artifacts[ARTIFACT_FILES["keogram"]]
    )
    assert np.abs(image[:, 0].astype(int) - (200, 30, 30)).max() <= 4


def test_long_keograms_average_their_neighbours() -> None:
    frames = MAX_KEOGRAM_COLUMNS * 2
    keogram = Keogram(frames, 2)
    for first in range(0, frames, 4096):
        levels = (np.arange(first, first + 4096) % 2 * 100).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(np.repeat(np.repeat(levels[None, :, None], 2, 0), 3, 2)).save(out, "PNG")
        keogram.add(out.getvalue())
    image = decode_image(keogram.finish())
    assert image.shape == (2, MAX_KEOGRAM_COLUMNS, 3) and set(image.flatten()) == {50}


def test_long_strips_are_thinned_evenly() -> None:
    strip = PreviewStrip((16, 12))
    for number in range(MAX_TILES + 1):
        out = io.BytesIO()
        Image.new("RGB", (16, 12)).save(out, "JPEG", comment=b"0")
        strip.add(out.getvalue(), Fraction(number))
    sprite, cues = strip.finish(Fraction(MAX_TILES + 1))
    assert cues.count(b"-->") == MAX_TILES // 2 + 1
    assert decode_image(sprite).shape == (12 * 11, 16 * SPRITE_COLUMNS, 3)


def test_nothing_is_made_unasked() -> None:
    assert render(numbered_jpegs(3)).artifacts == {}
    assert set(render(numbered_jpegs(3), outputs=("keogram",)).artifacts) == {"keogram.png"}
    assert render([None, None], outputs=BOTH_OUTPUTS).artifacts == {}, "nor for a segment without pictures"


def test_the_video_and_the_pieces_are_the_same_every_time() -> None:
    frames = numbered_jpegs(5)
    one, two = (render(frames, outputs=BOTH_OUTPUTS) for _ in range(2))
    assert one.data == two.data == render(frames).data
    assert one.artifacts == two.artifacts


def test_sizes_are_bounded() -> None:
    assert tile_size(1920, 1080) == (160, 90) and tile_size(100, 16384) == (1, 160) and tile_size(2, 2) == (2, 2)
    assert keogram_height(16384) == 480
    assert SegmentArtifacts(options()).finish() == {}
    assert canonical_outputs(["keogram", "preview_strip", "keogram"]) == BOTH_OUTPUTS
