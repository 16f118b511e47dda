"""Pictures of each view in both themes: `python -m tests.studio.pictures FOLDER`.

It starts a service of its own, fills it, and looks at it with the browser of the tests.
"""

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from service import config
from service.commands.tokens import mint_local_token
from service.commands.up import run_local_service
from tests.studio.browsing import Studio, studio
from tests.studio.scene import (
    HOSTILE_NAMES,
    colony_jpeg,
    flawed_frames,
    make_dataset,
    make_experiment,
    make_schedule,
    submit,
)
from tests.support.processes import api
from tests.support.processes.clean_environment import clean_environment

THEMES = ("dark", "light")
SIZES = {"": (1280, 800), "-narrow": (360, 740)}
# For pictures to arrive and figures to settle.
SETTLING_S = 2.5
FRAMES_ASKED = {
    "table": "frames",
    "columns": ["key", "index", "width", "height", "captured_at", "problem"],
    "filters": [{"column": "width", "op": "ge", "value": 320}],
    "order_by": ["-index"],
    "limit": 50,
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "every morning": {"cron": "30 6 * * *", "zone": "Europe/Berlin"},
    "the week, on Mondays": {"cron": "0 7 * * 1", "zone": "Asia/Tokyo", "window": "last 7 days"},
    HOSTILE_NAMES[0]: {"cron": "5,35 8-18 * * MON-FRI", "window": "since_last_run", "enabled": False},
}


def fill(client: httpx.Client) -> dict[str, str]:
    """The address of each view, of a service that has something of everything."""
    experiment = make_experiment(client, "Aspergillus, plate 3", description="Malt agar at 28 °C, a picture a minute")
    plate = make_dataset(client, experiment, "camera 1", flawed_frames(120))
    names = ("Night sky, north", "Weld seam 7", *HOSTILE_NAMES[:2])
    for place, name in enumerate(names):
        frames = {f"{number:03}.jpg": colony_jpeg(40 + 9 * place + number, (320, 180)) for number in range(12)}
        make_dataset(client, make_experiment(client, name, visibility="public"), "camera", frames)
    done = submit(client, plate, scale=2, outputs=["preview_strip", "keogram"])
    api.wait_until_ended(client, done)
    cancelled = submit(client, plate, scale=3)
    client.post(f"/api/videos/{cancelled}/cancel").raise_for_status()
    mornings = [make_schedule(client, plate, name, **fields) for name, fields in SCHEDULES.items()]
    return {
        "experiments": "#/experiments",
        "experiment": f"#/experiments/{experiment}",
        "dataset": f"#/datasets/{plate['id']}?frame=88",
        "compose": f"#/compose/{plate['id']}?frame=88&crop.x=120&crop.y=40&crop.width=240&crop.height=160",
        "renders": "#/renders",
        "schedules": f"#/schedules?runs={mornings[0]}",
        "watch": f"#/renders/{done}?frame=31",
        "compare": f"#/renders/{done}?frame=96&compare=beside",
        "difference": f"#/renders/{done}?frame=96&compare=difference",
        "ask": f"#/ask?query={quote(json.dumps(FRAMES_ASKED))}",
        "ask-refused": f"#/ask?query={quote(json.dumps(FRAMES_ASKED | {'limit': 5000}))}",
        "ask-words": "#/ask?question=make%20a%20video%20of%20%22Weld%20seam%207%22%20at%2024%20fps",
        "machines": "#/machines",
        "not-found": "#/nowhere",
        "empty": "#/renders?status=failed",
    }


def take(page: Studio, folder: Path, name: str, address: str) -> None:
    for theme in THEMES:
        page.theme(theme)
        for suffix, (width, height) in SIZES.items():
            page.size(width, height)
            page.open(address)
            time.sleep(SETTLING_S)
            page.picture(folder / f"{name}-{theme}{suffix}.png")
    print(name, *page.reports(), flush=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        own = {"REELMILL_HOME": home, "PORT": "0", "REELMILL_LOG_LEVEL": "ERROR", "REELMILL_RATE_LIMIT": "none"}
        with clean_environment(**own):
            settings = config.load()
            with run_local_service(settings) as running, studio(running.url, Path(home) / "profile") as page:
                token = mint_local_token(settings, "ada", ("admin",), timedelta(hours=1))
                headers: dict[str, Any] = {"Authorization": f"Bearer {token}"}
                with httpx.Client(base_url=running.url, headers=headers, timeout=60, trust_env=False) as client:
                    addresses = fill(client)
                take(page, folder, "sign-in", "")
                page.sign_in(token)
                for name, address in addresses.items():
                    take(page, folder, name, address)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
