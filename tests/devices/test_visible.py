"""CUDA_VISIBLE_DEVICES, as CUDA reads it."""

import pytest

from service.devices.visible import visible_indices

UUIDS = ["GPU-8932f937-d72c", "GPU-8932aaaa-0001", "GPU-1b2c"]


@pytest.mark.parametrize(
    ("told", "places"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2, 0", [2, 0]),
        ("1,7,0", [1]),
        ("-1", []),
        ("0,0", [0]),
        ("GPU-1b2c", [2]),
        ("GPU-8932f", [0]),
        ("GPU-8932", []),
        ("GPU-1,1", [2, 1]),
        ("MIG-1b2c", []),
    ],
)
def test_places(told: str | None, places: list[int]) -> None:
    assert visible_indices(UUIDS, {} if told is None else {"CUDA_VISIBLE_DEVICES": told}) == places
