"""Every image in the test suites of other projects is shown as Pillow shows it, or refused with a reason.

Limits: 3 levels of 8 bits, 1 of deeper samples. Two decoders of lossy images may each be a level off before the conversion
to RGB, and their filters of subsampled chroma differ at edges, which a colour profile can amplify: 4 levels in 0.2 % of the
samples, or with a profile any difference in 0.5 %. The images come from the package index while the test runs.
"""

import re
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder, detect_format
from service.pipeline.images.header import JPEG_MAGIC, DecodeOptions
from service.pipeline.orientation import orient
from service.pipeline.picture import Picture
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.render_plan import RenderOptions
from tests.pipeline.images import corpus_packages as packages
from tests.pipeline.images import corpus_reference as reference
from tests.pipeline.images.corpus_known import REFUSED, UNLIKE_PILLOW

Array = np.ndarray[Any, Any]
MAX_PIXELS = 200_000_000
# Memory addresses and representations of objects: a reason is for people, and the same in every process.
UNFIT_FOR_PEOPLE = re.compile(r"0x[0-9a-f]{6,}|<.*>|object at|Errno")


class Result(NamedTuple):
    """How one image came out: `problem` is None for a right picture, `refused` the reason for none at all."""

    name: str
    problem: str | None = None
    refused: str | None = None


@pytest.mark.parametrize("package", packages.PACKAGES, ids=lambda package: package.project)
def test_every_image_is_right_or_refused(package: packages.SourcePackage) -> None:
    try:
        results = list(_results(package))
    except OSError as error:
        pytest.skip(f"the package index does not answer: {error}")
    wrong = [f"{name}: {problem}" for name, problem, _ in results if problem and name not in UNLIKE_PILLOW]
    assert not wrong, "\n".join(wrong)
    refused = {name: reason for name, _, reason in results if reason}
    unexpected = {
        name: reason
        for name, reason in refused.items()
        if not any(name in names and reason.startswith(known) for known, names in REFUSED.items())
    }
    assert not unexpected
    assert not [reason for reason in refused.values() if UNFIT_FOR_PEOPLE.search(reason)]
    assert len(results) > len(refused) + len(UNLIKE_PILLOW), "nothing was compared"


def _results(package: packages.SourcePackage) -> Iterator[Result]:
    for path, data in packages.files(package):
        try:
            detect_format(data)
        except MediaUnreadable:
            continue
        name = path.rpartition("/")[2]
        try:
            yield Result(name, _difference(data))
        except MediaUnreadable as error:
            yield Result(name, refused=error.reason)


def _difference(data: bytes) -> str | None:
    """How the picture differs from Pillow's; None if it does not, or if Pillow cannot read it."""
    decoder = ImageDecoder(DecodeOptions(MAX_PIXELS))
    samples = decoder.decode_samples(data)
    with warnings.catch_warnings(action="ignore"):
        try:
            expected = reference.read(data)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            expected = reference.Expected()
    if expected.samples is not None and samples is not None:
        return _compare(samples, expected.samples, limit=1)
    if samples is not None and (samples.dtype.itemsize > 1 or samples.dtype.kind != "u"):
        if expected.rgb is None or samples.dtype != np.uint16:
            return None
        shown = samples if samples.ndim == 3 else np.dstack([samples] * 3)
        return _compare(np.rint(shown / 257), expected.rgb, limit=3)
    picture = decoder.decode(data)
    stray = 0.005 if picture.conversions and data.startswith((JPEG_MAGIC, b"RIFF")) else 0.0
    return None if expected.rgb is None else _compare(_shown(picture), expected.rgb, limit=3, stray=stray)


def _shown(picture: Picture) -> Array:
    """(height, width, 3): upright and in RGB."""
    frame = picture.frame
    if frame.format.name.startswith("yuv"):
        views = [np.asarray(view) for view in planes.plane_views(frame)]
        full_range = frame.format.name.startswith("yuvj")
        rgb = reference.ycbcr_to_rgb(views, frame.height, frame.width, full_range=full_range)
        return np.dstack([orient(rgb[..., channel], picture.orientation) for channel in range(3)])
    width, height = picture.size
    options = RenderOptions("ffv1", 70, Fraction(30), width, height, form="bgr0")
    return FrameTransform(options, IMAGE_COLOUR).apply(picture)[0].to_ndarray(format="rgb24")


def _compare(found: Array, expected: Array, limit: int, stray: float = 0.0) -> str | None:
    """What differs by more than `limit` levels; `stray` is the share of samples that may."""
    if found.shape != expected.shape:
        return f"its shape is {found.shape}, not {expected.shape}"
    levels = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    beyond = np.mean(levels > limit)
    close = np.nanmax(levels, initial=0) <= (limit + 1 if limit == 3 and beyond <= 0.002 else limit)
    if (close or beyond <= stray) and np.array_equal(np.isnan(found), np.isnan(expected)):
        return None
    return f"{np.nanmax(levels):.0f} levels off, {beyond:.1%} of the samples"
