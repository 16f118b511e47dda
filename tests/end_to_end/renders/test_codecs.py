"""Codecs and containers through the real API: the file, its type and name, and rejected combinations."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from service.client.errors import Invalid
from service.commands.remote.render import render_to_file
from service.config import ClientSettings
from service.plan.formats import CONTAINERS, MEDIA_TYPES, Codec, Container
from tests.support.data import media
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

JPEGS = {f"frame_{number:04d}.jpg": frame_jpeg(number, (128, 96)) for number in range(100)}
DEEP_FRAMES = [np.random.default_rng(number).integers(0, 4096, (63, 65), np.uint16) for number in range(5)]


@pytest.fixture(scope="module")
def footage(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, JPEGS)


def fetch_video(client: httpx.Client, status: dict[str, Any]) -> httpx.Response:
    return client.get(status["video_url"]).raise_for_status()


@pytest.mark.parametrize(
    ("codec", "container"), [(codec, container) for codec, held in CONTAINERS.items() for container in held]
)
def test_every_pair(alice: httpx.Client, footage: dict[str, Any], codec: Codec, container: Container) -> None:
    status = api.render(alice, footage, decimation_factor=2, fps=20, codec=codec, container=container)
    answer = fetch_video(alice, status)
    assert answer.headers["content-type"] == MEDIA_TYPES[container]
    assert answer.headers["content-disposition"] == f'inline; filename="{status["job_id"]}.{container}"'
    with av.open(io.BytesIO(answer.content)) as file:
        names = {file.streams.video[0].codec_context.name.removeprefix("lib").replace("dav1d", "av1")}
        assert (names, sum(1 for _ in file.decode(video=0))) == ({codec}, 50)
    assert status["options"]["container"] == container
    assert alice.get(status["poster_url"]).content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(("codec", "container"), [("h264", "mp4"), ("mjpeg", "avi"), ("ffv1", "mkv")])
def test_the_default_container_is_no_other_render(
    alice: httpx.Client, footage: dict[str, Any], codec: str, container: str
) -> None:
    first = api.render(alice, footage, decimation_factor=3, fps=20, codec=codec)
    again = api.render(alice, footage, decimation_factor=3, fps=20, codec=codec, container=container)
    assert again["job_id"] == first["job_id"]


@pytest.mark.parametrize(("codec", "container"), [("mjpeg", "mp4"), ("ffv1", "avi"), ("av1", "mov"), ("h264", "avi")])
def test_an_impossible_pair_is_refused(
    alice: httpx.Client, footage: dict[str, Any], codec: str, container: str
) -> None:
    body = {
        "experiment_id": footage["experiment_id"],
        "decimation_factor": 1,
        "fps": 30,
        "codec": codec,
        "container": container,
    }
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/container"
    assert CONTAINERS[codec][0] in answer.json()["detail"]  # type: ignore[index]


def test_mjpeg_holds_the_cameras_own_bytes(alice: httpx.Client, footage: dict[str, Any]) -> None:
    status = api.render(alice, footage, fps=20, codec="mjpeg")
    with av.open(io.BytesIO(fetch_video(alice, status).content)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    assert packets == list(JPEGS.values())
    assert {line["decoder"] for line in api.receipt_lines(alice, status["job_id"])} == {"copied"}


def test_16_bit_gray_is_kept(alice: httpx.Client) -> None:
    dataset = api.make_dataset(
        alice, {f"f{number}.tif": media.tiff(pixels) for number, pixels in enumerate(DEEP_FRAMES)}
    )
    status = api.render(alice, dataset, fps=5, codec="ffv1")
    assert (status["options"]["form"], status["options"]["tone"]) == ("gray16le", None)
    with av.open(io.BytesIO(fetch_video(alice, status).content)) as file:
        for frame, pixels in zip(file.decode(video=0), DEEP_FRAMES, strict=True):
            np.testing.assert_array_equal(frame.to_ndarray(), pixels)
    toned = api.render(alice, dataset, fps=5, codec="ffv1", tone={"mode": "full"})
    assert toned["options"]["form"] == "yuv420p"


def test_segments_are_shared_by_containers(alice: httpx.Client, footage: dict[str, Any]) -> None:
    api.render(alice, footage, fps=24, codec="h264")
    told = api.render(alice, footage, fps=24, codec="h264", container="mkv")
    assert told["fps"] is None, "no frame was rendered anew"


def test_the_command_names_the_file_after_its_container(
    service: RunningService, footage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    token = service.token("alice", ("catalog:read", "videos:read", "videos:render"))
    settings = replace(service.settings, client=ClientSettings(url=service.url, token=token))
    fields = {"decimation_factor": 4, "fps": 20, "codec": "mjpeg"}
    asyncio.run(render_to_file(settings, footage["experiment_id"], fields, None))
    assert (tmp_path / "out.avi").read_bytes()[8:12] == b"AVI "
    with pytest.raises(Invalid, match="mp4 cannot hold mjpeg"):
        asyncio.run(render_to_file(settings, footage["experiment_id"], fields | {"container": "mp4"}, None))
