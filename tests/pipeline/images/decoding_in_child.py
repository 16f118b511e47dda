"""Decodes in child processes, so that a test can detect a crash."""

import hashlib
from collections.abc import Sequence

import numpy as np

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.picture import samples_view
from service.pipeline.tone.window import Window

Attempt = tuple[str, str]


def decode_all(variants: Sequence[bytes]) -> list[Attempt]:
    """("refused", reason) or ("shown", digest of the picture) for each; other errors are raised."""
    decoder = ImageDecoder(DecodeOptions(10_000_000, window=Window(-1e6, 1e6)))
    return [_decode(decoder, data) for data in variants]


def _decode(decoder: ImageDecoder, data: bytes) -> Attempt:
    try:
        frame = decoder.decode(data).frame
    except MediaUnreadable as error:
        return "refused", error.reason
    samples = samples_view(frame)
    pixels = frame.to_ndarray(format="rgb24") if samples is None else np.ascontiguousarray(samples)
    return "shown", f"{frame.width}x{frame.height} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
