"""`reelmill demo`: render a small generated camera sequence with the real service."""

import asyncio
import math
import os
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from service import config
from service.commands.remote.ingest import ingest
from service.commands.remote.render import render_to_file
from service.commands.tokens import LOCAL_SCOPES, mint_local_token
from service.commands.up import run_local_service
from service.config import ClientSettings, Settings

FRAME_COUNT, WIDTH, HEIGHT = 240, 960, 540
MISSING_FRAME, TRUNCATED_FRAME = 100, 150
console = Console(soft_wrap=True, highlight=False)


def run_demo(folder: Path) -> None:
    """Run the whole demo in a temporary home; only the video and its receipt remain, in `folder`."""
    with tempfile.TemporaryDirectory(prefix="reelmill-demo-") as scratch:
        settings = config.load()
        process = {"home": Path(scratch) / "home", "port": 0, "host": "127.0.0.1"}
        settings = replace(settings, process=settings.process.model_copy(update=process))
        frames = Path(scratch) / "frames"
        console.print(f"1. writing {FRAME_COUNT} camera frames, one missing and one truncated", markup=False)
        write_sequence(frames)
        console.print("2. starting PostgreSQL, the API and a worker", markup=False)
        with run_local_service(
            settings, {"REELMILL_HOME": str(settings.process.home), "REELMILL_LOG_LEVEL": "WARNING"}
        ) as running:
            token = mint_local_token(settings, "demo", LOCAL_SCOPES, timedelta(hours=1))
            client = ClientSettings(url=running.url, token=token)
            asyncio.run(_ingest_and_render(replace(settings, client=client), frames, folder / "reelmill-demo.mp4"))


async def _ingest_and_render(settings: Settings, frames: Path, output: Path) -> None:
    console.print(f"3. ingesting into {settings.client.url}", markup=False)
    await ingest(settings, frames, ("demo", "camera"), "frames")
    console.print("4. rendering every second frame at 30 fps", markup=False)
    await render_to_file(settings, "demo", {"decimation_factor": 2, "fps": 30, "missing": "hold"}, output)


def write_sequence(folder: Path) -> None:
    """Write the JPEGs of two discs moving over a background, with sensor noise; one is missing, one truncated."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(7).integers(-6, 7, (HEIGHT, WIDTH, 1), dtype=np.int16)
    for number in range(FRAME_COUNT):
        if number == MISSING_FRAME:
            continue
        pixels = np.clip(_draw_frame(number) + np.roll(noise, number * 37, axis=1), 0, 255).astype(np.uint8)
        path = folder / f"frame_{number:05d}.jpg"
        Image.fromarray(pixels).save(path, "JPEG", quality=88)
        if number == TRUNCATED_FRAME:
            os.truncate(path, path.stat().st_size // 2)


def _draw_frame(number: int) -> NDArray[np.int16]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.stack((columns * 160 // WIDTH + 40, rows * 120 // HEIGHT + 60, (rows + columns) % 97 + 60), axis=-1)
    for radius, speed, colour in ((60, 0.02, (230, 90, 40)), (35, -0.045, (60, 200, 230))):
        x = WIDTH / 2 + math.cos(number * speed) * WIDTH / 3
        y = HEIGHT / 2 + math.sin(number * speed) * HEIGHT / 3
        picture[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = colour
    return picture.astype(np.int16)
