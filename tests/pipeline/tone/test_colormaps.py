"""The committed tables are matplotlib's."""

import matplotlib
import numpy as np
import pytest

from service.pipeline.tone.colormaps import COLORMAP_TABLES, colormap
from service.plan.tone import COLORMAPS


@pytest.mark.parametrize("name", COLORMAP_TABLES)
def test_equal_to_matplotlib(name: str) -> None:
    expected = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(colormap(name), expected)


def test_every_name_has_a_table_and_ramps_are_pure() -> None:
    tables = {name: colormap(name) for name in COLORMAPS}
    assert {table.shape for table in tables.values()} == {(256, 3)}
    assert len({table.tobytes() for table in tables.values()}) == len(COLORMAPS)
    assert set(COLORMAP_TABLES) < set(COLORMAPS)
    np.testing.assert_array_equal(tables["magenta"][200], (200, 0, 200))
    np.testing.assert_array_equal(tables["gray"][77], (77, 77, 77))
