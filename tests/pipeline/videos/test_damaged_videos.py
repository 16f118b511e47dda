"""Source videos that were damaged after their scan: a report with a reason for each frame, never a crash."""

import io
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest

from tests.pipeline.videos.rendering_in_child import render_outcomes
from tests.support.data import media

CODECS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4")
PICTURES = 30


def move_index_to_front(data: bytes, path: Path) -> bytes:
    """The same video with its index first, so that a truncated one still has it."""
    with av.open(io.BytesIO(data)) as source, av.open(str(path), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("codec", CODECS)
def test_each_picture_has_its_line(codec: str, tmp_path: Path) -> None:
    pictures = [media.numbered_picture(number) for number in range(PICTURES)]
    whole = move_index_to_front(media.video(pictures, codec=codec), tmp_path / "whole.mp4")
    random = np.random.default_rng(4)
    cuts = [whole[: len(whole) * place // 20] for place in range(20)]
    flipped = []
    for count in (1, 4, 16, 64, 256):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(0, len(whole), count)] ^= np.uint8(1 << int(random.integers(0, 8)))
        flipped.append(damaged.tobytes())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcomes = pool.submit(render_outcomes, whole, [whole, *cuts, *flipped, bytes(len(whole))]).result(240)
    assert {outcome for outcome, _ in outcomes[0]} == {"ok"}
    assert all(len(lines) == PICTURES for lines in outcomes)
    assert all(reason for lines in outcomes for outcome, reason in lines if outcome not in ("ok", "resized"))
    for lines in (*outcomes[1:20], outcomes[-1]):
        assert any(outcome != "ok" for outcome, _ in lines), "a cut file lacks pictures"
