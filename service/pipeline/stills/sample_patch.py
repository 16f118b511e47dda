"""The samples of a small part of an image as measured: what the file holds, before any window or display level."""

import json
from contextlib import closing

import numpy as np

from service.pipeline.frames import FrameMissing, FrameReader, SourceReader, media_faults, open_watched
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.orientation import orient
from service.pipeline.picture import DecodedSamples, Samples
from service.plan.preview import PATCH_SIDE
from service.plan.render_plan import FrameRef


def sample_patch(
    ref: FrameRef, reader: FrameReader, sources: SourceReader, corner: tuple[int, int], max_pixels: int
) -> bytes:
    """JSON of the samples from `corner` (x, y) on, in pixels of the upright picture: at most 64 x 64 of them.

    Colours stay in those of the file's profile. What is not a number is null. Raises FrameMissing, FrameUnavailable,
    MediaUnreadable, and what `reader` and `sources` raise beyond them.
    """
    options = DecodeOptions(max_pixels, keep_colours=True)
    with media_faults("decoded"):
        decoded = _decode(ref, reader, sources, options)
        return json.dumps(_describe(decoded, *corner), separators=(",", ":")).encode()


def _decode(ref: FrameRef, reader: FrameReader, sources: SourceReader, options: DecodeOptions) -> DecodedSamples:
    if ref.key is None:
        raise FrameMissing("gap in the numbering")
    if ref.page is None:
        return ImageDecoder(options).decode_all_samples(reader.read(ref))
    with closing(TiffStack(open_watched(sources, ref))) as stack:
        return stack.decode_page(ref.page_offset, options)[0]


def _describe(decoded: DecodedSamples, x: int, y: int) -> dict[str, object]:
    samples = decoded.samples
    planes = [samples] if samples.ndim == 2 else [samples[..., channel] for channel in range(3)]
    upright = [orient(plane, decoded.orientation)[y : y + PATCH_SIDE, x : x + PATCH_SIDE] for plane in planes]
    patch = np.stack(upright, axis=-1)
    height, width, channels = patch.shape
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "type": samples.dtype.name,
        "channels": ["gray"] if channels == 1 else ["red", "green", "blue"],
        "conversions": list(decoded.conversions),
        "samples": _to_numbers(patch).tolist(),
    }


def _to_numbers(patch: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    """Python's numbers, of floats the shortest that are read as the same; None for what is not a number."""
    if patch.dtype.kind != "f":
        return patch.astype(object)
    numbers = [float(str(value)) if np.isfinite(value) else None for value in patch.ravel()]
    return np.array(numbers, object).reshape(patch.shape)
