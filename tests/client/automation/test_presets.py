"""Presets through the client: whose is meant by a name, and what renders take from one."""

import pytest

from service.client.datasets import AsyncDataset
from service.client.errors import Conflict, Invalid, NotFound, NotPermitted
from service.client.mill import AsyncReelmill
from tests.client.mills import open_mill
from tests.support.processes.catalogue_api import CatalogueApi
from tests.support.processes.running_service import SCOPES

pytestmark = pytest.mark.anyio
SMALL = {"decimation_factor": 2, "fps": 10, "width": 64}


async def test_the_life_of_a_preset(mill: AsyncReelmill, camera: AsyncDataset) -> None:
    small = await mill.presets.create("small", options=SMALL, description="to look through")
    assert (small.name, small.options, small.visibility, small.owner) == ("small", SMALL, "private", "alice")
    assert repr(small) == "<Preset small>"
    assert (await mill.presets.get("small")) == small == (await mill.presets.get(small.id))
    render = await camera.render(preset="small", fps=5)
    assert (render.request["decimation_factor"], render.request["fps"], render.preset["name"]) == (2, 5, "small")
    await small.change(name="tiny", options={"width": 32})
    assert (small.name, small.options, small.description) == ("tiny", {"width": 32}, "to look through")
    assert render.request["width"] == 64, "what was asked for before stays"
    await small.delete()
    for missing in ("small", "tiny", small.id):
        with pytest.raises(NotFound):
            await mill.presets.get(missing)


async def test_a_preset_that_is_there_stays_as_it_is(mill: AsyncReelmill) -> None:
    made = await mill.presets.get_or_create("small", options=SMALL)
    assert await mill.presets.get_or_create("small", options={"width": 1000}) == made
    assert (await mill.presets.get("small")).options == SMALL
    with pytest.raises(Conflict):
        await mill.presets.create("small", options=SMALL)
    with pytest.raises(Invalid) as caught:
        await mill.presets.create("fast", options={"fps": 900})
    assert caught.value.errors[0]["pointer"] == "#/options/fps"


async def test_a_name_means_the_own_preset_then_the_only_one(api: CatalogueApi, mill: AsyncReelmill) -> None:
    async with open_mill(api, "bob", *SCOPES) as of_bob, open_mill(api, "carol", *SCOPES) as of_carol:
        bobs = await of_bob.presets.create("small", options=SMALL, visibility="public")
        assert await mill.presets.get("small") == bobs
        with pytest.raises(NotPermitted):
            await (await mill.presets.get("small")).change(name="mine")
        carols = await of_carol.presets.create("small", options=SMALL, visibility="shared", shared_with=["alice"])
        with pytest.raises(Conflict, match="several people have a preset named small: name its id"):
            await mill.presets.get("small")
        assert await mill.presets.get(carols.id) == carols and await of_bob.presets.get("small") == bobs
        own = await mill.presets.get_or_create("small", options=SMALL)
        assert own not in (bobs, carols) and await mill.presets.get("small") == own
        assert [each async for each in mill.presets.list("mal")] == [own, carols, bobs]
        assert [each async for each in mill.presets.list(mine=True)] == [own]
        assert [each async for each in mill.presets.list("large")] == []
