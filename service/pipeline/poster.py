"""The still that stands for a video before it plays."""

import io

import av
from PIL import Image

from service.pipeline.mux import SKIP_DECODE


def poster(segment: bytes, max_width: int = 1280) -> bytes:
    """A JPEG of the first picture, at most `max_width` pixels wide. Raises ValueError for an empty segment."""
    if not segment:
        raise ValueError("an empty segment has no picture")
    with av.open(io.BytesIO(segment), "r", stream_options=SKIP_DECODE) as source:
        source.streams.video[0].codec_context.thread_count = 1  # dav1d's others begin on pictures nobody will look at
        frame = next(source.decode(video=0))
        width = min(max_width, frame.width)
        height = max(1, round(frame.height * width / frame.width))
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
