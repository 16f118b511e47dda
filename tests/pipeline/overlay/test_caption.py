"""The overlay: digits read back from decoded frames, a scale bar of the right length, nothing changed beside them."""

import io
from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import anyio
import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from service.errors import InvalidRequest
from service.pipeline.frame_context import FrameWatch
from service.pipeline.overlay.caption import OverlayRenderer, frame_texts
from service.pipeline.overlay.glyphs import BACKGROUND_OPACITY, GlyphCache, TextMask, blend_block, blend_overlay
from service.pipeline.planes import black_frame, plane_view
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.pipeline.videos.source import VideoSource
from service.plan.geometry import Bins
from service.plan.overlay import (
    CHARACTERS,
    Corner,
    Overlay,
    ScaleBar,
    ScaleBarSpec,
    Unit,
    drawable_text,
    scale_bar,
    text_size,
)
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from service.plan.timing import with_elapsed_time
from tests.pipeline.rendering import MemoryObjects, numbered_jpegs, options, read_numbers, render
from tests.pipeline.videos.test_source import SOURCES
from tests.support.data import media

CORNERS: list[Corner] = ["top_left", "top_right", "bottom_left", "bottom_right"]
CAPTURE_TIME = 1_777_874_400_000_000  # 2026-05-04 06:00:00


def overlay(height: int = 96, **changes: Any) -> Overlay:
    base = Overlay(True, False, False, "", None, "bottom_left", text_size(height))
    return replace(base, **changes)


def read_text(luma: media.Pixels, caption: OverlayRenderer, pattern: str) -> str:
    """Replace each 0 of the pattern by the digit whose template in the same font fits the decoded pixels best."""
    glyphs = caption.glyphs
    left, top = caption.corner[0] + caption.pad, caption.corner[1]
    text = ""
    for sign in pattern:
        x = left + glyphs.width(text) - 2 * glyphs.outline
        best = max("0123456789", key=lambda digit: _likeness(luma[top:, x:], glyphs.render_line(digit)))
        text += best if sign == "0" else sign
    return text


def _likeness(found: media.Pixels, glyph: TextMask) -> float:
    template = 128 + glyph.text.astype(float) / 2 - (glyph.text_and_outline.astype(float) - glyph.text) / 2
    part = found[: template.shape[0], : template.shape[1]].astype(float)
    return -float(np.abs(part - template)[glyph.text_and_outline > 64].mean())


def luma_planes(data: bytes) -> list[media.Pixels]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]


def make_background(kind: str, width: int, height: int) -> bytes:
    if kind == "noise":
        return media.jpeg(np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8), 80)
    return media.jpeg(
        media.flat_picture({"black": (0, 0, 0), "white": (255, 255, 255), "red": (220, 20, 20)}[kind], width, height)
    )


@pytest.mark.parametrize("kind", ["black", "white", "red", "noise"])
@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 480), (1920, 1080)])
def test_the_frame_index_can_be_read_on_any_ground(codec: str, width: int, height: int, kind: str) -> None:
    mark = overlay(height)
    store = MemoryObjects({"a": make_background(kind, width, height)})
    refs = tuple(FrameRef(number, "a") for number in (8, 12_345, 6_079))
    plan = SegmentPlan(0, 0, "b", options(codec=codec, width=width, height=height, quality=75, overlay=mark), refs)
    result = render_segment(plan, store, store, FrameWatch())
    caption = OverlayRenderer(mark, width, height)
    texts = [f"#{ref.index}" for ref in refs]
    found = [
        read_text(luma, caption, "#" + "0" * (len(text) - 1))
        for luma, text in zip(luma_planes(result.data), texts, strict=True)
    ]
    assert found == texts


@pytest.mark.parametrize("position", CORNERS)
def test_the_time_is_read_in_every_corner(position: Corner) -> None:
    mark = overlay(480, frame_index=False, elapsed=True, position=position)
    store = MemoryObjects({"a": make_background("noise", 640, 480)})
    refs = tuple(FrameRef(k, "a", elapsed=k * 61_001_000) for k in range(3))
    plan = SegmentPlan(0, 0, "b", options(width=640, height=480, overlay=mark), refs)
    found = luma_planes(render_segment(plan, store, store, FrameWatch()).data)
    caption = OverlayRenderer(mark, 640, 480)
    assert [read_text(luma, caption, "+00:00:00.000") for luma in found[1:]] == ["+00:01:01.001", "+00:02:02.002"]


def test_a_held_picture_shows_the_number_whose_place_it_takes() -> None:
    frames: list[bytes | None] = [media.jpeg(media.flat_picture((90, 120, 90), 320, 240))] * 7
    frames[2], frames[3], frames[4] = b"broken", None, b"broken"
    mark = overlay(240)
    result = render(frames, width=320, height=240, overlay=mark, corrupt="hold", missing="black", quality=80)
    assert [report.outcome for report in result.reports] == ["ok", "ok", "held", "black", "held", "ok", "ok"]
    caption = OverlayRenderer(mark, 320, 240)
    assert [read_text(luma, caption, "#0") for luma in luma_planes(result.data)] == [f"#{k}" for k in range(7)]


def test_a_bin_shows_its_first_frame() -> None:
    frames: list[bytes | None] = [media.jpeg(media.flat_picture((90, 120, 90), 320, 240))] * 6
    result = render(frames, width=320, height=240, overlay=overlay(240), bins=Bins("mean", 3, 320, 240))
    caption = OverlayRenderer(overlay(240), 320, 240)
    assert [read_text(luma, caption, "#0") for luma in luma_planes(result.data)] == ["#0", "#3"]


def test_pictures_are_as_without_an_overlay_elsewhere(codec: str) -> None:
    plain, marked = (render(numbered_jpegs(30), codec=codec, overlay=mark) for mark in (None, overlay()))
    assert read_numbers(marked.data) == read_numbers(plain.data) == list(range(30))


def test_what_the_decoder_predicts_from_is_not_written_on() -> None:
    data = SOURCES["libx264"]
    pts = probe_video(io.BytesIO(data)).pts
    caption = OverlayRenderer(overlay(), 128, 96)
    with VideoSource(io.BytesIO(data)) as clean, VideoSource(io.BytesIO(data)) as marked:
        for number, time in enumerate(pts):
            frame = marked.picture(time).frame
            untouched = clean.picture(time).frame.to_ndarray()
            assert np.array_equal(frame.to_ndarray(), untouched)
            caption.draw(frame, FrameRef(number, "v"))
            assert not np.array_equal(frame.to_ndarray(), untouched)


@given(st.integers(0, 2**32 - 1))
def test_blending_is_that_of_the_formula_and_can_be_undone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = black_frame(32, 24)
    for plane in frame.planes:
        plane_view(plane)[:] = rng.integers(16, 236, plane_view(plane).shape, np.uint8)
    before = [plane_view(plane).astype(float) for plane in frame.planes]
    dark = rng.integers(0, 256, (10, 16), np.uint8)
    light = (dark * rng.random((10, 16))).astype(np.uint8)
    restore = blend_overlay(frame, [blend_block(TextMask(light, dark), 4, 6)])
    cover = 1 - (1 - dark / 255) * (1 - BACKGROUND_OPACITY / 255)
    luma, inner = before[0][6:16, 4:20], plane_view(frame.planes[0])[6:16, 4:20]
    assert np.abs(luma * (1 - cover) + 16 * cover + 219 * (light / 255) - inner).max() <= 1.6
    quarter = cover.reshape(5, 2, 8, 2).mean(axis=(1, 3))
    chroma = before[1][3:8, 2:10] * (1 - quarter) + 128 * quarter
    assert np.abs(chroma - plane_view(frame.planes[1])[3:8, 2:10]).max() <= 1.6
    restore()
    assert all(np.array_equal(plane_view(plane), old) for plane, old in zip(frame.planes, before, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.sampled_from(CORNERS), st.booleans(), st.integers(4, 200))
def test_it_fits_into_pictures_of_any_size(w: int, h: int, corner: Corner, wordy: bool, bar: int) -> None:
    width, height = 2 * w, 2 * h
    text = "A long line of words about a plate that does not fit into a small picture" if wordy else ""
    scale = ScaleBar(max(4, min(bar, width * 9 // 10)), "100 µm")
    mark = Overlay(True, True, True, text, scale, corner, min(text_size(height), height))
    frame = black_frame(width, height)
    restore = OverlayRenderer(mark, width, height).draw(frame, FrameRef(10**6, "a", captured=CAPTURE_TIME, elapsed=1))
    assert plane_view(frame.planes[0]).max() > 100
    restore()
    assert int(plane_view(frame.planes[0]).max()) == 16


@pytest.mark.parametrize("pixels", [20, 57, 200])
def test_the_bar_is_as_long_as_it_says(pixels: int) -> None:
    mark = overlay(240, frame_index=False, bar=ScaleBar(pixels, "5 mm"))
    frames: list[bytes | None] = [media.jpeg(media.flat_picture((60, 60, 60), 320, 240))]
    luma = luma_planes(render(frames, width=320, height=240, overlay=mark, quality=90).data)[0]
    longest = max(
        (len(run) for row in luma for run in "".join("x" if v > 150 else " " for v in row).split()), default=0
    )
    assert abs(longest - pixels) <= 1


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (FrameRef(7, "a", captured=CAPTURE_TIME, elapsed=0), ("#7", "2026-05-04 06:00:00", "+00:00:00")),
        (
            FrameRef(7, "a", captured=CAPTURE_TIME + 250_000, elapsed=-1_500_000),
            ("#7", "2026-05-04 06:00:00.250", "-00:00:01.500"),
        ),
        (FrameRef(0, "a", elapsed=360_061_000_000), ("#0", "----------  --:--:--", "+100:01:01")),
        (FrameRef(0, None), ("#0", "----------  --:--:--", "+--:--:--")),
    ],
)
def test_what_is_written(ref: FrameRef, text: tuple[str, ...]) -> None:
    assert frame_texts(overlay(captured_at=True, elapsed=True), ref) == text


def test_the_font_has_every_character_that_is_allowed() -> None:
    font = ImageFont.load_default(40)
    nothing = bytes(font.getmask("\uffff"))
    lacking = {sign for sign in CHARACTERS if bytes(font.getmask(sign)) == nothing}
    assert lacking == {"µ"}, "which is made of the u"
    glyphs = GlyphCache(40)
    u, mu = glyphs.render_line("u").text, glyphs.render_line("µ").text
    assert u.shape == mu.shape
    added = np.argwhere(mu != u)
    assert added[:, 0].max() > np.argwhere(u)[:, 0].max() + 4, "a tail below the line"
    assert added[:, 1].max() < u.shape[1] / 2, "at the left stem"


def test_digits_do_not_dance() -> None:
    glyphs = GlyphCache(30)
    assert len({glyphs.width(str(digit)) for digit in range(10)}) == 1


def test_the_same_overlay_gives_the_same_bytes(codec: str) -> None:
    assert (
        render(numbered_jpegs(5), codec=codec, overlay=overlay()).data
        == render(numbered_jpegs(5), codec=codec, overlay=overlay()).data
    )


@pytest.mark.parametrize(
    ("size", "mismatch", "pixels"),
    [((640, 480), "pad", 40), ((320, 240), "pad", 20), ((1280, 480), "pad", 40), ((1280, 480), "scale", 80)],
)
def test_the_length_of_a_scale_bar(size: tuple[int, int], mismatch: Any, pixels: int) -> None:
    def bar_of(length: float, unit: Unit) -> ScaleBar:
        return scale_bar(ScaleBarSpec(length, unit), 2.5, (640, 480), size, stretched=mismatch == "scale")

    assert bar_of(100, "um") == ScaleBar(pixels, "100 µm")
    assert bar_of(0.1, "mm") == ScaleBar(pixels, "0.1 mm")
    for length in (1, 10_000):
        with pytest.raises(InvalidRequest) as caught:
            bar_of(length, "um")
        assert caught.value.errors[0].pointer == "#/overlay/scale_bar/length"


@pytest.mark.parametrize(
    ("width", "pixel_um", "label", "pixels"),
    [
        (640, 2.5, "200 µm", 80),  # a fifth of the width is 320 µm
        (640, 0.01, "1 µm", 100),
        (640, 0.001, "100 nm", 100),
        (1920, 50, "1 cm", 200),
        (1920, 1_000_000, "200 m", 200),
        (320, 2.5, "200 µm", 40),
        (16, 2.5, "1 mm", 10),  # ten pixels at least, of a picture made so small
    ],
)
def test_a_scale_bar_without_a_length_suits_the_picture(width: int, pixel_um: float, label: str, pixels: int) -> None:
    source = (640, 480) if width <= 640 else (width, 1080)
    size = (width, source[1] * width // source[0])
    bar = scale_bar(ScaleBarSpec(), pixel_um, source, size, stretched=False)
    assert (bar.label, bar.pixels) == (label, pixels)


def test_a_scale_bar_without_a_length_in_a_chosen_unit() -> None:
    bar = scale_bar(ScaleBarSpec(unit="mm"), 2.5, (640, 480), (640, 480), stretched=False)
    assert (bar.label, bar.pixels) == ("0.2 mm", 80)


@given(st.integers(12, 16_384), st.floats(1e-6, 1e9), st.integers(12, 65_535), st.sampled_from([None, *get_args(Unit)]))
def test_such_a_bar_always_fits(width: int, pixel_um: float, source: int, unit: Unit | None) -> None:
    bar = scale_bar(ScaleBarSpec(unit=unit), pixel_um, (source, source), (width, width), stretched=False)
    assert 4 <= bar.pixels <= max(width // 5, 10) + 1


def test_text_that_cannot_be_drawn_is_refused_by_place_not_by_quoting_it() -> None:
    drawable_text("22 °C, 5 µm")
    with pytest.raises(InvalidRequest) as caught:
        drawable_text("ab\u4e16")
    assert caught.value.detail.startswith("character 3 ") and "\u4e16" not in caught.value.detail


def test_elapsed_is_capture_time_or_else_time_in_the_video() -> None:
    chosen = RenderOptions("h264", 70, Fraction(25), 64, 48)

    async def collect(times: list[int | None], options: RenderOptions, timed: bool) -> list[int | None]:
        async def stream() -> Any:
            for number, time in enumerate(times):
                yield FrameRef(number, "a", captured=time)

        return [frame.elapsed async for frame in with_elapsed_time(stream(), options, timed)]

    assert anyio.run(collect, [None, 5, 9, None, 3], chosen, True) == [None, 0, 4, None, -2]
    assert anyio.run(collect, [None] * 3, chosen, False) == [0, 40_000, 80_000]
    binned = replace(chosen, bins=Bins("mean", 2, 64, 48))
    assert anyio.run(collect, [None] * 4, binned, False) == [0, 0, 40_000, 40_000]


def test_an_overlay_survives_json() -> None:
    chosen = options(overlay=overlay(bar=ScaleBar(40, "100 µm"), text="x"))
    assert RenderOptions.from_json(chosen.to_json()) == chosen
