"""What changes in a few pixels from one frame to the next is in the video at its frame: encoders like to skip it."""

import io
from functools import cache

import av
import numpy as np
import pytest

from benchmarks.scenes import pictures
from service.plan.formats import EFFORTS, Codec, Effort
from tests.pipeline.rendering import render
from tests.support.data import media

LOSSY: list[tuple[Codec, Effort]] = [(codec, effort) for codec in ("h264", "hevc", "av1") for effort in EFFORTS[codec]]
# A small letter has some 50 pixels; ringing at sharp edges is that far off in a few.
FAR_OFF, A_FEW = 64, 32
SMALL, LARGE = (640, 360), (1280, 720)
# SVT-AV1 loses letters in large pictures: docs/quality.md says when, and what to use instead.
SCREENS = [(*each, size) for each in LOSSY for size in (SMALL, LARGE) if (each[0], size) != ("av1", LARGE)]


@pytest.mark.parametrize(("codec", "effort"), LOSSY)
def test_a_small_light_that_blinks_is_seen_blinking(codec: Codec, effort: Effort) -> None:
    frames: list[bytes | None] = []
    for index in range(40):
        pixels = media.flat_picture((90, 90, 90), 640, 480)
        pixels[200:232, 300:332] = (250, 30, 30) if index % 5 == 0 else (90, 90, 90)
        frames.append(media.jpeg(pixels))
    data = render(frames, codec=codec, effort=effort, width=640, height=480).data
    with av.open(io.BytesIO(data)) as container:
        reds = [int(f.to_ndarray(format="rgb24")[216, 316, 0]) for f in container.decode(video=0)]
    assert [red > 230 for red in reds] == [index % 5 == 0 for index in range(40)]
    assert [red < 110 for red in reds] == [index % 5 != 0 for index in range(40)]


@pytest.mark.parametrize(("codec", "effort", "size"), SCREENS)
def test_letters_and_lines_of_a_screen_are_in_their_frame(codec: Codec, effort: Effort, size: tuple[int, int]) -> None:
    """Text that scrolls, a curve that grows and a pointer that moves, at both ends of the upper scale of quality."""
    frames, luma = screen(size)
    for quality in (70, 90):
        shown = decoded(frames, codec, effort, quality, size)
        differences = [np.abs(a.to_ndarray()[: size[1]].astype(int) - b) for a, b in zip(shown, luma, strict=True)]
        off = [int((difference > FAR_OFF).sum()) for difference in differences]
        assert max(off) <= A_FEW, (quality, off)


@cache
def screen(size: tuple[int, int]) -> "tuple[list[bytes | None], list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]]":
    """The frames, and their luma as a lossless video has it."""
    sources = [picture[..., ::-1] for picture in pictures("screen", 24, size)]
    frames: list[bytes | None] = [media.png(np.ascontiguousarray(source)) for source in sources]
    return frames, [each.to_ndarray()[: size[1]] for each in decoded(frames, "ffv1", "balanced", 100, size)]


def decoded(
    frames: list[bytes | None],
    codec: Codec,
    effort: Effort,
    quality: int,
    size: tuple[int, int],
) -> list[av.VideoFrame]:
    given = {"codec": codec, "effort": effort, "quality": quality, "width": size[0], "height": size[1]}
    form = "yuvj420p" if codec == "ffv1" else "yuv420p"
    with av.open(io.BytesIO(render(frames, form=form, **given).data)) as container:
        if codec != "ffv1":
            return list(container.decode(video=0))
        return [
            frame.reformat(format="yuv420p", src_color_range=2, dst_color_range=1)
            for frame in container.decode(video=0)
        ]
