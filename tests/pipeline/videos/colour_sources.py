"""Flat source videos made by the ffmpeg program, and what a render, a preview and the ffmpeg program show of them."""

import io
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from PIL import Image

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.pipeline.stills.preview import PreviewOptions, video_preview
from service.plan.colour import Hdr, choose_colour
from service.plan.formats import Codec
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options

Rgb = tuple[int, ...]
PATCH: Rgb = (200, 60, 50)
# H.273 number -> weights of red and blue in luma.
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def run_ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout


def flat_source(suffix: str, *encoder: str, colour: Rgb = PATCH, size: str = "64x48", filters: str = "") -> bytes:
    """Two pictures of one colour: R'G'B' of 16 bits, then `filters`, then ffmpeg's options `encoder`."""
    red, green, blue = (level * 257 for level in colour)
    chain = f"color=c=black:s={size}:r=10:d=0.2,format=gbrp16le,geq=r={red}:g={green}:b={blue}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"source{suffix}")
        run_ffmpeg("-f", "lavfi", "-i", f"{chain}{filters and ','}{filters}", *encoder, str(path))
        return path.read_bytes()


def raw_source(suffix: str, pixel_format: str, samples: bytes, *encoder: str, size: str = "64x48") -> bytes:
    """Two pictures of given samples."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"source{suffix}")
        source = ("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", size, "-r", "10", "-i", "-")
        run_ffmpeg(*source, *encoder, str(path), data=samples * 2)
        return path.read_bytes()


def ycbcr(colour: Rgb, matrix: int) -> tuple[int, int, int]:
    """8-bit limited-range samples (H.273, equations 24 to 40)."""
    red, green, blue = (level / 255 for level in colour)
    red_weight, blue_weight = LUMA_WEIGHTS[matrix]
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    cb, cr = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    return round(16 + 219 * luma), round(128 + 224 * cb), round(128 + 224 * cr)


def flat_ycbcr(suffix: str, matrix: int, *encoder: str, size: tuple[int, int] = (64, 48), colour: Rgb = PATCH) -> bytes:
    """Two pictures of one colour whose 4:2:0 samples have this matrix."""
    y, cb, cr = ycbcr(colour, matrix)
    count = size[0] * size[1]
    samples = bytes([y]) * count + bytes([cb]) * (count // 4) + bytes([cr]) * (count // 4)
    return raw_source(suffix, "yuv420p", samples, *encoder, size=f"{size[0]}x{size[1]}")


def shown_by_ffmpeg(data: bytes, suffix: str) -> Rgb:
    """The middle pixel of the first picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"source{suffix}")
        path.write_bytes(data)
        raw = run_ffmpeg("-i", str(path), "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    width, height = stored_size(data)
    return middle(np.frombuffer(raw, np.uint8).reshape(height, width, 3))


def stored_size(data: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(data)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def middle(pixels: "np.ndarray[Any, Any]") -> Rgb:
    return tuple(int(level) for level in pixels[pixels.shape[0] // 2, pixels.shape[1] // 2])


def jpeg_pixel(data: bytes) -> Rgb:
    with Image.open(io.BytesIO(data)) as image:
        return middle(np.asarray(image.convert("RGB")))


def preview_pixel(data: bytes) -> Rgb:
    pts = probe_video(io.BytesIO(data)).pts[0]
    return jpeg_pixel(video_preview(FrameRef(0, "v", pts=pts), MemoryObjects({"v": data}), PreviewOptions(640, 10**8)))


def render_sources(*sources: bytes, codec: Codec = "h264", hdr: Hdr | None = None, **changes: Any) -> SegmentResult:
    """One segment of the first picture of each source, in the colours that planning chooses."""
    objects, facts = (
        {f"{n}": data for n, data in enumerate(sources)},
        [probe_video(io.BytesIO(data)) for data in sources],
    )
    refs = tuple(FrameRef(n, f"{n}", pts=fact.pts[0]) for n, fact in enumerate(facts))
    base = {"width": 64, "height": 48, "quality": 90, "fps": Fraction(10), "mismatch": "scale"}
    base |= {"form": "yuvj420p"} if codec == "mjpeg" else {}
    chosen = choose_colour(codec, hdr, list(dict.fromkeys(fact.colour for fact in facts)))
    settings = options(codec=codec, source_kind="video", colour=chosen, **(base | changes))
    store = MemoryObjects(objects)
    return render_segment(SegmentPlan(0, 0, "bucket", settings, refs), store, store, FrameWatch())


def rendered_pixels(result: SegmentResult) -> list[Rgb]:
    """The middle pixel of each output picture, by PyAV."""
    with av.open(io.BytesIO(result.data)) as container:
        return [middle(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def output_tags(result: SegmentResult) -> tuple[int, int, int]:
    """(matrix, primaries, transfer)"""
    with av.open(io.BytesIO(result.data)) as container:
        frame = next(container.decode(video=0))
    return frame.colorspace, frame.color_primaries, frame.color_trc


def assert_near(found: Rgb, wanted: Rgb, levels: int = 3) -> None:
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= levels, (found, wanted)
