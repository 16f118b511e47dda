"""Renders in words over HTTP: what is prepared, `dry_run` accepts, and the estimate is what it says."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.tone import PERCENTS, Levels
from service.store.tables import datasets, experiments, frames, renders
from tests.agent.conftest import add_named
from tests.agent.renders.test_options import LOOKS, PARTS, SPEEDS
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
PLATE_FRAMES = 36
IDS = {"experiment_id", "dataset_id"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    """fish: 12 JPEGs without capture times. plate: 16-bit gray, every 10 minutes from yesterday at 7, 2 µm a pixel."""
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home")) as api:
        async with api.database.service_transaction() as connection:
            await add_named(connection, "alice", "fish", 12)
            ids = await add_named(connection, "alice", "plate", PLATE_FRAMES)
            await make_plate(connection, ids["alice plate"], ids["alice plate camera"])
        yield api


async def make_plate(connection: AsyncConnection, experiment: str, dataset: str) -> None:
    first = YESTERDAY + timedelta(hours=7)
    captured = {"captured_from": first, "captured_to": first + timedelta(minutes=10 * (PLATE_FRAMES - 1))}
    levels = Levels("uint16", 16, 1, 36, 100, 60_100, 0, 0, tuple(100 + 600 * percent for percent in PERCENTS))
    gray = {"formats": ["png"], "forms": {"gray16le": PLATE_FRAMES}, "levels": levels.to_json()}
    large = {"width": 640, "height": 480}
    await connection.execute(
        update(experiments).where(experiments.c.id == experiment).values(metadata={"pixel_size_um": 2})
    )
    await connection.execute(update(datasets).where(datasets.c.id == dataset).values(**captured, **gray, **large))
    for index in range(PLATE_FRAMES):
        row = {"captured_at": first + timedelta(minutes=10 * index), "bits": 16, "gray": True, "format": "png"}
        where = (frames.c.dataset_id == dataset) & (frames.c.index == index)
        await connection.execute(update(frames).where(where).values(**row))


async def ask(api: CatalogueApi, question: str) -> dict[str, Any]:
    async with api.client("alice", "agent:ask") as client:
        response = await client.post("/api/agent/query", json={"query": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def dry_run(api: CatalogueApi, request: dict[str, Any]) -> dict[str, Any]:
    async with api.client("alice", "videos:render") as client:
        response = await client.post("/api/videos/generate", json=request | {"dry_run": True})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_part_speed_and_look(api: CatalogueApi) -> None:
    question = "make a video of plate from 8 to 10 yesterday, in 3 seconds, half size, in viridis, with a scale bar"
    answer = await ask(api, question)
    request = {name: value for name, value in answer["suggested_render"].items() if name not in IDS}
    assert request == {
        "decimation_factor": 1,
        "duration_seconds": 3.0,
        "frames": {"from": f"{YESTERDAY:%Y-%m-%d}T08:00:00Z", "to": f"{YESTERDAY:%Y-%m-%d}T10:00:00Z"},
        "scale": 0.5,
        "tone": {"colormap": "viridis"},
        "overlay": {"scale_bar": {}},
    }
    assert answer["estimate"]["frames"] == 12 and "Left out" not in answer["answer"]
    assert (await dry_run(api, answer["suggested_render"]))["estimate"] == answer["estimate"]


async def test_what_the_frames_do_not_allow_is_left_out_and_named(api: CatalogueApi) -> None:
    """fish is 64x48, in colour, without capture times, and nobody knows the size of its pixels."""
    answer = await ask(api, "render fish twice as fast, with time stamps, frame numbers and a scale bar, in viridis")
    request = {name: value for name, value in answer["suggested_render"].items() if name not in IDS}
    assert request == {"decimation_factor": 1, "fps": 60.0, "overlay": {"frame_index": True}}
    for words in (
        "scale_bar, because the experiment's metadata has no pixel_size_um",
        "captured_at, because",
        "tone, because",
    ):
        assert words in answer["answer"]
    assert answer["estimate"]["frames"] == 12


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("render plate of 2020-01-01", "frames: no frame was captured in this window"),
        ("render fish since yesterday", "frames/from: no frame of the dataset says when it was captured"),
        ("render fish from frame 100 on", "frames"),
        ("render fish in 90000 seconds", "duration_seconds: Input should be less than or equal to 86400"),
        ("render fish in 30 seconds at 24 fps", "duration_seconds: give either fps or duration_seconds"),
        ("render fish at 1000 fps", "fps: Input should be less than or equal to 240"),
    ],
)
async def test_what_is_asked_for_and_cannot_be(api: CatalogueApi, question: str, says: str) -> None:
    answer = await ask(api, question)
    assert answer["suggested_render"] is None and answer["estimate"] is None
    assert answer["answer"].startswith(f"That cannot be rendered: {says}"), answer["answer"]


WORDS = st.lists(
    st.sampled_from([words for words, _ in (*PARTS, *SPEEDS, *LOOKS)]), min_size=1, max_size=6, unique=True
)


async def test_whatever_is_prepared_is_accepted(api: CatalogueApi) -> None:
    """Also what contradicts itself, as two sizes: then it says why, and prepares nothing that would be refused."""
    outcomes = {True: 0, False: 0}
    for question in drawn_questions(80):
        answer = await ask(api, question)
        if (request := answer["suggested_render"]) is None:
            assert answer["answer"].startswith("That cannot be rendered: "), (question, answer["answer"])
        else:
            assert (await dry_run(api, request))["estimate"] == answer["estimate"], question
        outcomes[request is not None] += 1
    assert min(outcomes.values()) > 10, outcomes
    async with api.database.service_transaction() as connection:
        assert await connection.scalar(select(func.count()).select_from(renders)) == 0


def drawn_questions(count: int) -> list[str]:
    found: list[str] = []

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["fish", "plate"]), WORDS)
    def collect(name: str, words: list[str]) -> None:
        found.append(f"render {name}, {', '.join(words)}")

    collect()
    return found
