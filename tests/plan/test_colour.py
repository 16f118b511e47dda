"""One colour for all segments of a render of source videos, decided when it is planned."""

from dataclasses import replace
from fractions import Fraction

import pytest

from service.errors import InvalidRequest
from service.plan.colour import JPEG_COLOUR, SDR_COLOUR, Colour, Hdr, choose_colour
from service.plan.formats import Codec
from service.plan.render_plan import RenderOptions
from service.plan.requests.planning import plan
from service.plan.requests.request import RenderRequest
from tests.plan.test_request import EXPERIMENT, FRAMES, REQUEST, facts, refusal

PAL, HD = Colour(5, 5, 6), Colour(1, 1, 1)
PQ, HLG, YCGCO_PQ = Colour(9, 9, 16), Colour(9, 9, 18), Colour(8, 9, 16)
VIDEO = replace(FRAMES, kind="video", captured=None, formats=("h264",), pixel_formats={"yuv420p": 900})


@pytest.mark.parametrize(
    ("codec", "hdr", "sources", "chosen"),
    [
        ("h264", None, [PAL, HD], PAL),
        ("h264", "sdr", [HD], HD),
        ("h264", "keep", [HD], HD),
        ("h264", None, [PQ], PQ),
        ("av1", "keep", [PQ], PQ),
        ("hevc", "sdr", [PQ], SDR_COLOUR),
        ("ffv1", None, [HLG], HLG),
        ("h264", None, [HD, PQ], SDR_COLOUR),
        ("h264", None, [PQ, HLG], SDR_COLOUR),
        ("h264", "keep", [HD, HLG, PQ], HLG),
        ("h264", None, [YCGCO_PQ], PQ),
        ("h264", None, [Colour(14, 1, 1)], HD),
        ("h264", None, [], None),
        ("mjpeg", None, [PQ], JPEG_COLOUR),
        ("mjpeg", "sdr", [], JPEG_COLOUR),
    ],
)
def test_the_colour_of_a_render(codec: Codec, hdr: Hdr | None, sources: list[Colour], chosen: Colour | None) -> None:
    assert choose_colour(codec, hdr, sources) == chosen


def test_a_jpeg_cannot_keep_hdr() -> None:
    request = replace(REQUEST, codec="mjpeg", hdr="keep")
    assert refusal(request, facts(VIDEO, colours=(PQ,))) == ("#/hdr", "no_hdr")
    with pytest.raises(InvalidRequest, match="cannot say that it is HDR"):
        plan(request, facts(VIDEO))


def test_planning_puts_the_colour_into_the_key_and_the_options_survive_json() -> None:
    kept = plan(REQUEST, facts(VIDEO, colours=(PQ,)))
    shown = plan(replace(REQUEST, hdr="sdr"), facts(VIDEO, colours=(PQ,)))
    assert (kept.options.colour, shown.options.colour) == (PQ, SDR_COLOUR)
    assert kept.key != shown.key
    assert RenderOptions.from_json(kept.options.to_json()) == kept.options
    assert plan(REQUEST, facts(FRAMES)).options.colour is None
    assert plan(RenderRequest(EXPERIMENT, 1, fps=30, codec="mjpeg"), facts(FRAMES)).options.colour is None


def test_options_without_a_colour_are_those_of_an_older_version() -> None:
    older = RenderOptions("h264", 70, Fraction(30), 64, 48, source_kind="video")
    assert "colour" not in older.to_json()
    assert RenderOptions.from_json(older.to_json()).colour is None
