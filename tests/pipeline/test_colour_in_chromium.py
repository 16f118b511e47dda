"""Flat patches of camera JPEGs in a real browser: a canvas reads their colours from the video within 2 levels."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.pipeline.encode.assemble import assemble
from service.plan.formats import CONTAINERS, Codec, Container
from tests.pipeline.rendering import options, render
from tests.pipeline.test_colour import PATCH, PATCHES, chart
from tests.support.data import media
from tests.support.servers.browser import chromium

CODEC_STRINGS: dict[Codec, str] = {"h264": "avc1.64001f", "av1": "av01.0.04M.08", "hevc": "hvc1.1.6.L93.B0"}
CANVAS_SCRIPT = """
    const [data, done] = arguments, video = document.createElement("video");
    document.body.replaceChildren(video);
    video.muted = true;
    video.onerror = () => done(video.error.message);
    video.requestVideoFrameCallback(() => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0);
        done([canvas.width, canvas.height, ...context.getImageData(0, 0, canvas.width, canvas.height).data]);
    });
    video.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(data), c => c.charCodeAt(0))], {type: "video/mp4"}));
    video.play();
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.get("about:blank")
        yield driver


def canvas_pixels(browser: Any, video: bytes) -> media.Pixels:
    """(height, width, 3) of the first frame, read from a canvas."""
    found = browser.execute_async_script(CANVAS_SCRIPT, base64.b64encode(video).decode())
    assert isinstance(found, list), found
    width, height, *rgba = found
    return np.array(rgba, np.uint8).reshape(height, width, 4)[..., :3]


def patch_means(picture: media.Pixels) -> list[list[int]]:
    """The mean colour of the middle of each patch, to the nearest level."""
    side = picture.shape[0]
    middles = (picture[side // 4 : -side // 4, n * side + side // 4 : (n + 1) * side - side // 4] for n in range(7))
    return [np.rint(middle.reshape(-1, 3).mean(0)).astype(int).tolist() for middle in middles]


@pytest.mark.parametrize("container", ["mp4", "segment"])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("codec", CODEC_STRINGS)
def test_a_canvas_reads_what_the_camera_saw(
    browser: Any, codec: Codec, half: bool, subsampling: str, container: str, tmp_path: Path
) -> None:
    if not browser.execute_script(
        f"return MediaSource.isTypeSupported('video/mp4; codecs=\"{CODEC_STRINGS[codec]}\"')"
    ):
        assert codec == "hevc", "every Chromium plays H.264 (Debian's) and AV1"
        pytest.skip("this Chromium has no HEVC decoder")
    side = PATCH * 2
    source = np.repeat(np.repeat(chart(), 2, 0), 2, 1)
    size = {"width": side * 7 // 2, "height": side // 2} if half else {"width": side * 7, "height": side}
    data = render([media.jpeg(source, subsampling=subsampling)] * 3, codec=codec, quality=90, **size).data
    if container == "mp4":
        assemble([data], options(codec=codec, **size), tmp_path / "out.mp4")
        data = (tmp_path / "out.mp4").read_bytes()
    found = patch_means(canvas_pixels(browser, data))
    assert np.abs(np.array(found) - np.array(PATCHES)).max() <= 2, found


# Range and matrix (H.273) of a decoded frame. JPEG has no tags: JFIF defines full range and BT.601 (5 or 6).
TAGS: dict[Codec, tuple[int, int]] = {"h264": (1, 6), "av1": (1, 6), "hevc": (1, 6), "mjpeg": (2, 5), "ffv1": (2, 6)}


@pytest.mark.parametrize(
    ("codec", "container"), [(codec, kind) for codec, kinds in CONTAINERS.items() for kind in kinds]
)
def test_every_file_says_which_range_and_matrix_it_has(codec: Codec, container: Container, tmp_path: Path) -> None:
    import av

    form = {"mjpeg": "yuvj420p", "ffv1": "yuvj420p"}.get(codec, "yuv420p")
    of = {"codec": codec, "container": container, "form": form, "width": 448, "height": 64}
    path = tmp_path / f"out.{container}"
    assemble([render([media.jpeg(chart())] * 2, quality=90, **of).data], options(**of), path)
    with av.open(str(path)) as video:
        stream = video.streams.video[0].codec_context
        frame = next(video.decode(video=0))
    assert (int(frame.color_range), int(frame.colorspace)) == TAGS[codec]
    if container != "avi":
        assert int(stream.color_range) == TAGS[codec][0]
    pixels = frame.to_ndarray(format="rgb24")
    found = [pixels[16:-16, n * 64 + 16 : n * 64 + 48].reshape(-1, 3).mean(0) for n in range(7)]
    assert np.abs(np.array(found) - np.array(PATCHES)).max() <= 2.5
