"""Schedules and their runs through the client."""

import pytest

from service.client.datasets import AsyncDataset
from service.client.errors import Conflict, Invalid, NotFound
from service.client.mill import AsyncReelmill
from tests.client.mills import open_mill
from tests.support.processes.catalogue_api import CatalogueApi
from tests.support.processes.running_service import SCOPES

pytestmark = pytest.mark.anyio
CRON = "30 6 * * *"


async def test_the_life_of_a_schedule(mill: AsyncReelmill, camera: AsyncDataset) -> None:
    request = camera.render_request(decimation=2, fps=10, tone="full")
    daily = await mill.schedules.create("daily", request=request, cron=CRON, zone="Europe/Berlin")
    assert (daily.cron, daily.zone, daily.window, daily.enabled) == (CRON, "Europe/Berlin", None, True)
    assert daily.request == request and request["tone"] == {"mode": "full"}
    assert (await mill.schedules.get("daily")) == daily == (await mill.schedules.get(daily.id))
    await daily.change(enabled=False, window="last 7 days")
    assert (daily.enabled, daily.window, daily.next_run_at) == (False, "last 7 days", None)
    await daily.delete()
    for missing in ("daily", daily.id):
        with pytest.raises(NotFound):
            await mill.schedules.get(missing)


async def test_a_run_makes_its_render(mill: AsyncReelmill, camera: AsyncDataset) -> None:
    request = camera.render_request(decimation=2, fps=10)
    daily = await mill.schedules.create("daily", request=request, cron=CRON)
    run = await daily.run()
    assert (run.number, run.manual, run.state, run.joined) == (1, True, "submitted", False)
    render = await (await run.render()).wait(60)
    assert (render.frames_total, render.dataset_id) == (3, camera.id)
    again = await daily.run()
    assert again.joined and await again.render() == render
    assert [each async for each in daily.runs()] == [again, run]
    await daily.refresh()
    assert (daily.run_count, daily.last_run["id"]) == (2, again.id)


async def test_a_run_that_is_refused_says_why(mill: AsyncReelmill, camera: AsyncDataset) -> None:
    """There is no frame of yesterday."""
    daily = await mill.schedules.create("daily", request=camera.render_request(), cron=CRON, window="yesterday")
    with pytest.raises(Invalid):
        await daily.run()
    (run,) = [each async for each in daily.runs()]
    assert run.state == "refused"
    with pytest.raises(Conflict, match="the run has no render, it is refused: "):
        await run.render()


async def test_names_are_those_of_the_caller(api: CatalogueApi, mill: AsyncReelmill, camera: AsyncDataset) -> None:
    request = camera.render_request()
    own = await mill.schedules.get_or_create("daily", request=request, cron=CRON)
    assert await mill.schedules.get_or_create("daily", request=request, cron="0 0 * * *") == own
    assert (await mill.schedules.get("daily")).cron == CRON
    with pytest.raises(Conflict):
        await mill.schedules.create("daily", request=request, cron=CRON)
    with pytest.raises(Invalid) as caught:
        await mill.schedules.create("hourly", request=request, cron="0 * * *")
    assert caught.value.errors[0]["pointer"] == "#/cron"
    assert [each async for each in mill.schedules.list(experiment_id=camera.experiment_id, mine=True)] == [own]
    async with open_mill(api, "bob", *SCOPES) as of_bob, open_mill(api, "root", *SCOPES, "admin") as of_admin:
        with pytest.raises(NotFound, match="there is no schedule named daily"):
            await of_bob.schedules.get("daily")
        assert await of_admin.schedules.get("daily") == own


async def test_following_is_switched_on_and_off(camera: AsyncDataset) -> None:
    assert not camera.followed and camera.follow is None
    await camera.start_following()
    assert camera.followed and camera.follow["problem"] is None
    await camera.stop_following()
    assert not camera.followed and len(camera) == 6
