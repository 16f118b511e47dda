"""What the Studio is shown with: experiments with pictures that look like something, and names that attack a page."""

import io
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tests.support.processes import api

# Markup, marks that turn the reading direction, two hundred characters, emoji.
HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "\u202ereversed\u202d \u2067rtl\u2069 \u05e2\u05d1\u05e8\u05d9\u05ea\u200f",
    "long " + "x" * 195,
    "👩🏽‍🔬🎞️ {{7*7}} ${alert(3)} &lt;b&gt;",
)
SIZE = (480, 270)


def colony_jpeg(number: int, size: tuple[int, int] = SIZE, frames: int = 120) -> bytes:
    """Colonies that grow on a plate, lit by a lamp that wanders."""
    width, height = size
    y, x = np.ogrid[0:height, 0:width]
    light = 0.65 + 0.3 * np.cos((x / width - 0.2 - 0.6 * number / frames) * 2.2) * np.cos((y / height - 0.5) * 1.6)
    covered = Image.new("L", size)
    draw, random = ImageDraw.Draw(covered), np.random.default_rng(7)
    for at_x, at_y, birth, rate in random.uniform((0.05, 0.08, 0, 0.3), (0.95, 0.92, 0.6, 1), (36, 4)):
        radius = max(number / frames - birth, 0) * rate * height * 0.16
        draw.circle((at_x * width, at_y * height), radius, fill=255)
    grown = np.asarray(covered.filter(ImageFilter.GaussianBlur(0.8)), np.float32)[..., None] / 255
    plate, mould = light[..., None] * (200, 172, 128), (0.75 + 0.5 * light[..., None]) * (64, 84, 46)
    picture = plate * (1 - grown) + mould * grown + random.normal(0, 3, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=88, exif=captured_at(number))
    return file.getvalue()


def captured_at(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: f"2026:05:04 {6 + number // 60:02}:{number % 60:02}:00", 0x9011: "+00:00"})
    return exif


def flawed_frames(count: int) -> dict[str, bytes]:
    """Frames of which one is corrupt, one has another size, and three are missing."""
    files = {f"plate_{number:04}.jpg": colony_jpeg(number, frames=count) for number in range(count)}
    files["plate_0023.jpg"] = files["plate_0023.jpg"][:900]
    files["plate_0031.jpg"] = colony_jpeg(31, (320, 240), count)
    for number in (40, 41, 42):
        del files[f"plate_{number:04}.jpg"]
    return files


def make_experiment(client: httpx.Client, name: str, **fields: Any) -> str:
    made = client.post("/api/experiments", json={"name": name, **fields}).raise_for_status().json()
    return str(made["id"])


def make_dataset(client: httpx.Client, experiment: str, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    """A scanned dataset."""
    path = f"/api/experiments/{experiment}/datasets"
    dataset = client.post(path, json={"name": name}).raise_for_status().json()["dataset"]
    for file, data in files.items():
        client.put(f"/api/datasets/{dataset['id']}/objects/{file}", content=data).raise_for_status()
    client.post(f"/api/datasets/{dataset['id']}/scan").raise_for_status()
    return api.wait_until_scanned(client, dataset["id"])


def submit(client: httpx.Client, dataset: dict[str, Any], **fields: Any) -> str:
    body = {"experiment_id": dataset["experiment_id"], "dataset_id": dataset["id"], "decimation_factor": 1, "fps": 30}
    return str(client.post("/api/videos/generate", json=body | fields).raise_for_status().json()["job_id"])


def make_schedule(client: httpx.Client, dataset: dict[str, Any], name: str, **fields: Any) -> str:
    """A schedule that has run once by hand, whatever became of that."""
    request = {
        "experiment_id": dataset["experiment_id"],
        "dataset_id": dataset["id"],
        "decimation_factor": 1,
        "fps": 30,
    }
    body = {"name": name, "cron": "0 0 1 1 *", "request": request} | fields
    made = client.post("/api/schedules", json=body).raise_for_status().json()
    client.post(f"/api/schedules/{made['id']}/run")
    return str(made["id"])
