"""Real footage: the street camera of Debian's opencv-doc (vtest.avi, 795 pictures), as the JPEGs of a camera."""

import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import av
import pytest

PACKAGE, VIDEO_PATH = "opencv-doc", "usr/share/doc/opencv-doc/examples/data/vtest.avi"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill-tests"
FRAMES = 795


def street_frames() -> list[bytes]:
    """All pictures in order. Skips the test if the footage is neither installed nor available from Debian."""
    pictures = []
    with av.open(str(_video_path())) as source:
        for frame in source.decode(video=0):
            file = io.BytesIO()
            frame.to_image().save(file, "JPEG", quality=90)
            pictures.append(file.getvalue())
    return pictures


def _video_path() -> Path:
    for place in (Path("/") / VIDEO_PATH, CACHE / "vtest.avi"):
        if place.exists():
            return place
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"{PACKAGE} holds the footage, and this machine has no apt-get to fetch it with")
    return _download_video(CACHE / "vtest.avi")


def _download_video(place: Path) -> Path:
    """Extract the video from the package, without installing it."""
    with tempfile.TemporaryDirectory() as scratch:
        if subprocess.run(["apt-get", "download", PACKAGE], cwd=scratch, capture_output=True).returncode:
            subprocess.run(["apt-get", "update"], capture_output=True)
            if subprocess.run(["apt-get", "download", PACKAGE], cwd=scratch, capture_output=True).returncode:
                pytest.skip(f"apt-get cannot download {PACKAGE}, which holds the footage")
        package = next(Path(scratch).glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(scratch) / VIDEO_PATH, place)
    return place
