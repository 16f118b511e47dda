"""MJPEG in AVI opens in ImageJ: its own AVI reader, which Fiji uses too, shows the frames that were encoded."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from service.pipeline.encode.assemble import assemble
from tests.pipeline.rendering import options, render
from tests.support.data import media

JAR = Path("/usr/share/java/ij.jar")
READER = Path(__file__).with_name("ReadAvi.java")
POINTS = [(8, 8), (70, 20), (20, 70), (110, 85)]
pytestmark = pytest.mark.skipif(
    not (JAR.exists() and shutil.which("java")),
    reason="ImageJ is not installed (Debian: libij-java and default-jre-headless)",
)


def patches(number: int) -> np.ndarray:
    """Four flat colours, different for each number."""
    colours = np.random.default_rng(number).integers(20, 236, (2, 2, 3), np.uint8)
    return colours.repeat(48, 0).repeat(64, 1)


def read_with_imagej(video: Path) -> list[list[int]]:
    words = [str(part) for point in POINTS for part in point]
    command = ["java", "-Djava.awt.headless=true", "-cp", str(JAR), str(READER), str(video), *words]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert output[0] == f"128 96 {len(output) - 1}"
    return [[int(word) for word in line.split()] for line in output[1:]]


@pytest.mark.parametrize("form", ["yuvj420p", "yuvj422p", "yuvj444p", "gray"])
def test_imagej_sees_every_picture(tmp_path: Path, form: str) -> None:
    pictures = [patches(number) for number in range(6)]
    if form == "gray":
        pictures = [picture[..., :1].repeat(3, 2) for picture in pictures]
        frames = [media._encode_picture(picture[..., 0], "JPEG", quality=95) for picture in pictures]
    else:
        frames = [media.jpeg(picture, subsampling=f"4:{form[5]}:{form[6]}", quality=95) for picture in pictures]
    frames[3] = media.png(pictures[3])
    result = render(frames, codec="mjpeg", form=form, quality=95)
    out = tmp_path / "out.avi"
    assemble([result.data], options(codec="mjpeg", form=form, container="avi", quality=95), out)
    found = np.array(read_with_imagej(out)).reshape(len(frames), len(POINTS), 3)
    expected = np.array([[picture[y, x] for x, y in POINTS] for picture in pictures], int)
    assert np.abs(found - expected).max() <= 4
