"""The same bytes whatever is in memory and whatever the CPU supports: encoders have read memory they never wrote."""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.pipeline.encode import codecs
from service.pipeline.encode.codecs import ENCODERS
from service.plan.formats import EFFORTS
from tests.pipeline.rendering import render
from tests.support.data import media

SCRIPT = "import sys; from tests.pipeline.encode.test_determinism import segment_digest; print(segment_digest(*sys.argv[1:]))"
FORMS = {"mjpeg": "yuvj444p", "ffv1": "yuvj420p"}


@functools.cache
def noisy_frames() -> list[bytes | None]:
    """A coarse texture that moves, with noise on top."""
    random = np.random.default_rng(5)
    coarse = random.integers(30, 220, (40, 60, 3))
    texture = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    frames: list[bytes | None] = []
    for number in range(16):
        part = texture[number : number + 270, 2 * number : 2 * number + 416]
        noisy = np.clip(part + random.normal(0, 6, part.shape), 0, 255).astype(np.uint8)
        frames.append(media.jpeg(noisy, quality=90))
    return frames


def segment_digest(codec: str, effort: str = "balanced") -> str:
    """SHA-256 (hex) of a segment."""
    form = FORMS.get(codec, "yuv420p")
    given = {"codec": codec, "effort": effort, "form": form, "width": 416, "height": 270, "quality": 40}
    return hashlib.sha256(render(noisy_frames(), **given).data).hexdigest()


def digest_in_child(codec: str, effort: str, fill: str) -> str:
    """In another process; MALLOC_PERTURB_ (glibc, mallopt(3)) fills allocated and freed memory."""
    place, environment = Path(__file__).parents[3], os.environ | {"MALLOC_PERTURB_": fill}
    command = [sys.executable, "-c", SCRIPT, codec, effort]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place, env=environment)
    return done.stdout.strip()


@pytest.mark.parametrize(("codec", "effort"), [(codec, effort) for codec in ENCODERS for effort in EFFORTS[codec]])
def test_fresh_memory_of_any_content(codec: str, effort: str) -> None:
    digests = {digest_in_child(codec, effort, "85"), digest_in_child(codec, effort, "170")}
    assert digests == {segment_digest(codec, effort)}


@pytest.mark.parametrize("effort", EFFORTS["h264"])
@pytest.mark.parametrize(
    "fewer", ["asm=0", "asm=MMX2,SSE2Fast,SSSE3", "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"]
)
def test_x264_on_lesser_cpus(fewer: str, effort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    best = segment_digest("h264", effort)
    monkeypatch.setattr(codecs, "_X264", f"{codecs._X264}:{fewer}")
    assert segment_digest("h264", effort) == best
