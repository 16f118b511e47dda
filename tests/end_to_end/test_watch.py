"""Watch a render over HTTP while it runs, and seek in it when it is finished."""

import io
import re
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from service.plan.segments import LONG_RENDER_SEGMENTS
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import RunningService
from tests.support.servers.browser import chromium
from tests.support.servers.reverse_proxy import reverse_proxy
from tests.support.servers.s3_server import needs_s3

FRAMES = 190
# Enough enlarged frames for a render of some seconds, which can be watched meanwhile.
LONG_FRAME_COUNT = LONG_RENDER_SEGMENTS * 75
PLAYER = Path(__file__).with_name("player.html")


@pytest.fixture(scope="module")
def footage(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"f{n:03d}.jpg": frame_jpeg(n, (320, 240)) for n in range(FRAMES)})


def submit(client: httpx.Client, dataset: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30} | fields
    return client.post("/api/videos/generate", json=body).raise_for_status().json()  # type: ignore[no-any-return]


def fetch_all(client: httpx.Client, url: str, folder: Path) -> Path:
    """The playlist and its files in a folder, with an end tag: a reader of files would otherwise wait for more."""
    text = client.get(url).raise_for_status().text
    for name in re.findall(r"stream/[\w.]+", text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get(urljoin(url, name)).raise_for_status().content)
    (folder / "stream.m3u8").write_text(text.removesuffix("#EXT-X-ENDLIST\n") + "#EXT-X-ENDLIST\n")
    return folder / "stream.m3u8"


def read_levels(path: Path) -> list[int]:
    with av.open(str(path), options={"allowed_extensions": "ALL"}) as video:
        return [int(frame.to_ndarray(format="gray")[-2, -2]) for frame in video.decode(video=0)]


def test_it_grows_while_it_renders_and_ends_with_it(
    alice: httpx.Client, footage: dict[str, Any], tmp_path: Path
) -> None:
    job = submit(alice, footage, scale=4)
    while (first := alice.get(job["stream_url"])).status_code == 409:  # a slow machine has no segment yet
        assert first.headers["Retry-After"] == "1"
    assert first.status_code == 200 and first.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert "#EXT-X-ENDLIST" not in first.text, "it can be watched before it is done"
    early = fetch_all(alice, job["stream_url"], tmp_path / "early")
    assert len(read_levels(early)) > 0
    texts = [first.text]
    while "#EXT-X-ENDLIST" not in texts[-1]:
        time.sleep(0.1)
        texts.append(alice.get(job["stream_url"]).raise_for_status().text)
    assert all(after.startswith(before) for before, after in pairwise(texts))
    assert api.wait_until_ended(alice, job["job_id"])["status"] == "succeeded"
    shown = read_levels(fetch_all(alice, job["stream_url"], tmp_path / "whole"))
    assert len(shown) == FRAMES and shown == sorted(shown)


def test_skipped_frames_leave_no_gap(alice: httpx.Client, tmp_path: Path) -> None:
    files = {f"f{n:03d}.jpg": b"damaged" if 3 <= n < 50 else frame_jpeg(n) for n in range(90)}
    dataset = api.make_dataset(alice, files)
    job = submit(alice, dataset, corrupt="skip")
    api.wait_until_ended(alice, job["job_id"])
    path = fetch_all(alice, job["stream_url"], tmp_path)
    with av.open(str(path), options={"allowed_extensions": "ALL"}) as video:
        times = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
    assert len(times) == 43
    assert times == pytest.approx([times[0] + index / 30 for index in range(43)], abs=1e-4)


def test_pictures_paced_by_capture_times_keep_their_pace(alice: httpx.Client, tmp_path: Path) -> None:
    dataset = api.make_dataset(alice, {f"t{n:03d}.jpg": captured_jpeg(n, n + 30 * (n > 40)) for n in range(70)})
    job = submit(alice, dataset, timing="captured", speed=5, codec="h264")
    status = api.wait_until_ended(alice, job["job_id"])
    path = fetch_all(alice, job["stream_url"], tmp_path)
    with av.open(str(path), options={"allowed_extensions": "ALL"}) as video:
        streamed = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
    with av.open(io.BytesIO(alice.get(status["video_url"]).content)) as video:
        shown = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
        lasts = float(video.streams.video[0].duration * video.streams.video[0].time_base)
    assert len(shown) == 70 and shown[41] - shown[40] == pytest.approx(31 / 5)
    assert [at - streamed[0] for at in streamed] == pytest.approx(shown, abs=1e-4)
    text = path.read_text()
    told = [float(each) for each in re.findall(r"#EXTINF:([\d.]+),", text)]
    assert sum(told) == pytest.approx(lasts, abs=1e-5)
    assert max(told) <= int(re.findall(r"TARGETDURATION:(\d+)", text)[0]) + 0.5


def captured_jpeg(number: int, seconds: float) -> bytes:
    exif = Image.Exif()
    moment = datetime(2026, 5, 4, tzinfo=UTC) + timedelta(seconds=seconds)
    exif.get_ifd(0x8769).update({0x9003: moment.strftime("%Y:%m:%d %H:%M:%S"), 0x9011: "+00:00"})
    out = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 20 + number, np.uint8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_what_cannot_be_watched(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    job = submit(alice, footage, scale=4, quality=71)
    base = f"/api/videos/{job['job_id']}"
    assert alice.post(f"{base}/cancel").json()["stream_url"] is None
    assert alice.get(f"{base}/stream.m3u8").status_code == 409
    done = api.render(alice, footage, decimation_factor=10)["stream_url"]
    assert alice.get(done).status_code == 200
    assert alice.get(urljoin(done, "stream/99.m4s")).status_code == 404
    assert alice.get(urljoin(done, "stream/-1.m4s")).status_code == 404
    with service.client("bob") as bob:
        for name in ("stream.m3u8", "stream/init.mp4", "stream/0.m4s"):
            assert bob.get(urljoin(done, name)).status_code == 404


def test_a_cleared_cache_is_said(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    job = api.render(alice, footage, decimation_factor=9, fps=11)
    first = urljoin(job["stream_url"], "stream/0.m4s")
    assert alice.get(first).status_code == 200
    for path in (service.home / "objects").rglob("segments/*/*.mp4"):
        path.unlink()
    if (service.home / "objects").exists():
        lost = alice.get(first)  # 409, or 503 as it was rendered a moment ago
        assert lost.status_code in (409, 503) and lost.headers["Retry-After"]
        assert alice.get(job["video_url"]).status_code == 200


@pytest.mark.parametrize(
    ("service", "codec"), [("folder", "h264"), pytest.param("s3", "av1", marks=needs_s3)], indirect=["service"]
)
def test_chromium_plays_it_before_it_is_done_and_seeks_after(
    service: RunningService, alice: httpx.Client, tmp_path: Path, codec: str
) -> None:
    dataset = api.make_dataset(alice, {f"f{n:03d}.jpg": frame_jpeg(n, (320, 240)) for n in range(LONG_FRAME_COUNT)})
    with reverse_proxy(PLAYER.read_bytes(), service.url) as url, chromium(tmp_path / "profile") as browser:
        browser.get(url)
        job = submit(alice, dataset, codec=codec, scale=4)
        token = service.token("alice", ("videos:read",))
        browser.execute_script("start(arguments[0], arguments[1])", f"/api/videos/{job['job_id']}", token)
        seen = wait_until_ended(browser)
        assert seen["playedBeforeTheEnd"] > 0, seen
        api.wait_until_ended(alice, job["job_id"])
        assert browser.execute_script("return video.duration") == pytest.approx(LONG_FRAME_COUNT / 30, abs=1e-3)
        buffered = "return [video.buffered.length, video.buffered.start(0), video.buffered.end(0)]"
        assert browser.execute_script(buffered) == [
            1,
            pytest.approx(0, abs=1e-3),
            pytest.approx(LONG_FRAME_COUNT / 30, abs=1e-3),
        ]
        for frame in (450, 12, 301, 75):
            shown = browser.execute_script("return level(arguments[0])", (frame + 0.5) / 30)
            assert abs(shown - (20 + frame % 200)) <= 3, f"{shown} at frame {frame}"


def wait_until_ended(browser: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        seen: dict[str, Any] = browser.execute_script("return seen")
        assert seen["error"] is None, seen
        if seen["ended"]:
            return seen
        time.sleep(0.1)
    raise TimeoutError(seen)
