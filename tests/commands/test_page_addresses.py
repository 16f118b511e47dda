"""Which thing an address of the page or the API names."""

import pytest

from service.commands.remote.connection import address_id

ID, OTHER = "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44", "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b45"


@pytest.mark.parametrize(
    "place",
    [
        f"/#/renders/{ID}?frame=3",
        f"/#/datasets/{ID}?cursor={OTHER}",
        f"/#/schedules?runs={ID}",
        f"/#/schedules?experiment_id={OTHER}&runs={ID}",
        f"/#/renders?experiment_id={ID}",
        f"/#/renders?status=failed&dataset_id={ID}&experiment_id={OTHER}",
        f"/api/videos?dataset_id={ID}",
        f"/api/videos/{ID}/video",
        f"/api/experiments/{OTHER}/datasets/{ID}",
    ],
)
def test_an_address_has_an_id(place: str) -> None:
    assert address_id(f"https://video.example{place}") == ID


@pytest.mark.parametrize("text", ["plate 3", f"/api/videos/{ID}", f"{ID}", "http://x/#/renders?runs=all", "https://x"])
def test_other_text_has_none(text: str) -> None:
    assert address_id(text) is None
