"""FFmpeg's command line: it makes the sources, and says independently how they are shown."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

RgbFrames = np.ndarray[Any, np.dtype[np.uint8]]


# The statically linked command crashes when it converts the name of a broadcast service, unless it finds no tables.
ENVIRONMENT = {**os.environ, "GCONV_PATH": "/nonexistent"}


def run_ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    """What the command writes to its standard output, with `data` as its input."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout


def make_video(name: str, *arguments: str, source: bytes | None = None, inputs: tuple[str, ...] = ()) -> bytes:
    """The file `name` that the command writes, from test pictures or from another file, `source`."""
    with tempfile.TemporaryDirectory() as folder:
        given = ("-i", str(Path(folder, "source"))) if source is not None else ()
        if source is not None:
            Path(folder, "source").write_bytes(source)
        run_ffmpeg(*inputs, *given, *arguments, str(Path(folder, name)))
        return Path(folder, name).read_bytes()


def shown_by_ffmpeg(data: bytes, size: tuple[int, int], filters: str = "null", *options: str) -> RgbFrames:
    """(frames, height, width, 3) of RGB: every picture that the command shows, of `size` (width, height)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source")
        path.write_bytes(data)
        raw = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
        shown = run_ffmpeg(*options, "-i", str(path), "-vf", filters, *raw)
    return np.frombuffer(shown, np.uint8).reshape(-1, size[1], size[0], 3)
