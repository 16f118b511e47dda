"""The samples of a part of an image as measured: what the file holds, before any window or display level."""

import io
import json
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from service.pipeline.frames import (
    FrameMissing,
    FrameReader,
    MediaUnreadable,
    SourceReader,
    media_faults,
    open_watched,
)
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.orientation import orient, oriented_size
from service.pipeline.picture import DecodedSamples, Samples
from service.plan.geometry import Size
from service.plan.preview import MAX_ARRAY_BYTES, PATCH_SIDE, array_head
from service.plan.render_plan import FrameRef

# (left, top, width, height) in pixels of the upright picture.
Window = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SampleReader:
    """Reads samples of images of at most `max_pixels`, in the colours of their profiles.

    Its methods raise FrameMissing, FrameUnavailable, MediaUnreadable, and what `reader` and `sources` raise beyond
    them.
    """

    reader: FrameReader
    sources: SourceReader
    max_pixels: int

    def patch(self, ref: FrameRef, corner: tuple[int, int]) -> bytes:
        """JSON of at most 64 x 64 pixels from `corner` (x, y) on. What is not a number is null."""
        with media_faults("decoded"):
            decoded = self._decode(ref)
            return json.dumps(_describe(decoded, *corner), separators=(",", ":")).encode()

    def array(self, ref: FrameRef, size: Size, window: Window) -> bytes:
        """NPY of the window, (height, width) or (height, width, 3) in C order, little-endian, behind `array_head`.

        `size` is what the upright picture must have."""
        with media_faults("decoded"):
            decoded = self._decode(ref)
            _require_size(decoded, size)
            samples = _cut(decoded, window)
            if samples.nbytes > MAX_ARRAY_BYTES:
                raise MediaUnreadable(f"this window has {samples.nbytes} bytes: ask for a smaller one")
            return _to_npy(samples, array_head(decoded.conversions))

    def _decode(self, ref: FrameRef) -> DecodedSamples:
        options = DecodeOptions(self.max_pixels, keep_colours=True)
        if ref.key is None:
            raise FrameMissing("gap in the numbering")
        if ref.page is None:
            return ImageDecoder(options).decode_all_samples(self.reader.read(ref))
        with closing(TiffStack(open_watched(self.sources, ref))) as stack:
            return stack.decode_page(ref.page_offset, options)[0]


def _cut(decoded: DecodedSamples, window: Window) -> Samples:
    """What there is of the window, upright: (height, width) or (height, width, 3)."""
    left, top, width, height = window
    samples, inside = decoded.samples, (slice(top, top + height), slice(left, left + width))
    if samples.ndim == 2:
        return orient(samples, decoded.orientation)[inside]
    planes = (orient(samples[..., channel], decoded.orientation)[inside] for channel in range(3))
    return np.stack(tuple(planes), axis=-1)


def _require_size(decoded: DecodedSamples, size: Size) -> None:
    height, width = decoded.samples.shape[:2]
    found = oriented_size((width, height), decoded.orientation)
    if found != size:
        raise MediaUnreadable(f"it has {found[0]} x {found[1]} pixels now: scan the dataset")


def _to_npy(samples: Samples, head: bytes) -> bytes:
    file = io.BytesIO()
    file.write(head)
    plain = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
    np.lib.format.write_array(file, plain, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _describe(decoded: DecodedSamples, x: int, y: int) -> dict[str, object]:
    patch = _cut(decoded, (x, y, PATCH_SIDE, PATCH_SIDE))
    height, width = patch.shape[:2]
    patch = patch[..., None] if patch.ndim == 2 else patch
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "type": patch.dtype.name,
        "channels": ["gray"] if decoded.samples.ndim == 2 else ["red", "green", "blue"],
        "conversions": list(decoded.conversions),
        "samples": _to_numbers(patch).tolist(),
    }


def _to_numbers(patch: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    """Python's numbers, of floats the shortest that are read as the same; None for what is not a number."""
    if patch.dtype.kind != "f":
        return patch.astype(object)
    numbers = [float(str(value)) if np.isfinite(value) else None for value in patch.ravel()]
    return np.array(numbers, object).reshape(patch.shape)
