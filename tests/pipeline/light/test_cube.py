"""The lookup table gives what the formulae give, and the same on every processor."""

import subprocess
import sys

import numpy as np
import pytest
from av import VideoFrame

from service.child_process import child_environment
from service.pipeline.light.conversion import KNEE, converter, roll_off
from service.pipeline.light.cube import apply_cube
from service.pipeline.light.primaries import light_matrix, luma_weights
from service.pipeline.light.transfers import transfer
from service.plan.colour import SDR_COLOUR, Colour

PQ, HLG, WIDE, P3 = Colour(9, 9, 16), Colour(9, 9, 18), Colour(9, 9, 14), Colour(1, 12, 13)


@pytest.mark.parametrize("source", [PQ, HLG, WIDE, P3], ids=["pq", "hlg", "bt2020", "p3"])
@pytest.mark.parametrize("white", [65_535, 65_280])
def test_the_table_is_near_the_formulae(source: Colour, white: int) -> None:
    shown = np.random.default_rng(5).random((64, 64, 3))
    code = (converter(SDR_COLOUR, source)(shown).clip(0, 1) * white).round().astype(np.uint16)
    frame = VideoFrame.from_ndarray(code, format="rgb48le").reformat(format="gbrp16le")
    converted = apply_cube(frame, source, SDR_COLOUR, white).reformat(format="rgb48le").to_ndarray()
    wanted = converter(source, SDR_COLOUR)(code / white).clip(0, 1) * 255
    errors = np.abs(converted / 257 - wanted)
    assert errors.mean() < 0.5
    assert np.percentile(errors, 98) < 5


def test_published_points_of_the_curves() -> None:
    """BT.2408-7, table 1: 58 % of PQ and 75 % of HLG are reference white; BT.2100: their peaks; BT.2087: the matrix."""
    for code, percent, light in ((16, 58, 1), (18, 75, 1), (18, 100, 1000 / 203), (16, 100, 10_000 / 203)):
        found = transfer(code).to_light(np.full(3, percent / 100))
        assert np.allclose(found, light, rtol=0.01)
    assert np.allclose(light_matrix(1, 9)[0], [0.6274, 0.3293, 0.0433], atol=1e-4)
    assert np.allclose(luma_weights(1), [0.2126, 0.7152, 0.0722], atol=1e-4)
    codes = np.linspace(0, 1, 101)[:, None].repeat(3, axis=1)
    for number in (1, 8, 9, 10, 13, 16, 17, 18):
        assert np.allclose(transfer(number).from_light(transfer(number).to_light(codes)), codes, atol=0.011), number


def test_the_roll_off_is_the_identity_then_rises_to_white() -> None:
    light = np.linspace(0, 6, 601)
    shown = roll_off(light)
    assert np.array_equal(shown[light <= KNEE], light[light <= KNEE])
    assert np.all(np.diff(shown) >= 0) and shown[-1] == 1
    assert roll_off(np.array(1000 / 203)) == pytest.approx(1)


CHILD = """
import ctypes, hashlib, sys
import numpy as np
from av import VideoFrame
from service.pipeline import native_libraries
from service.pipeline.light.cube import apply_cube
from service.plan.colour import SDR_COLOUR, Colour

library = ctypes.CDLL(native_libraries._loaded_library("/libavutil"))
library.av_force_cpu_flags(library.av_get_cpu_flags() & int(sys.argv[1]))
code = np.random.default_rng(5).integers(0, 65536, (64, 101, 3), dtype=np.uint16)
frame = VideoFrame.from_ndarray(code, format="rgb48le").reformat(format="gbrp16le")
converted = apply_cube(frame, Colour(9, 9, 16), SDR_COLOUR).reformat(format="rgb48le")
print(hashlib.sha256(converted.to_ndarray().tobytes()).hexdigest())
"""


def test_the_same_samples_on_every_processor() -> None:
    """All instruction sets of this one, none beyond SSE2, and none at all."""
    found = {
        subprocess.run(
            [sys.executable, "-c", CHILD, str(flags)],
            capture_output=True,
            text=True,
            env=child_environment(),
            check=True,
        ).stdout
        for flags in (-1, 0x1F, 0)
    }
    assert len(found) == 1
