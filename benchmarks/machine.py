"""Facts recorded with every result: machine, commit, versions."""

import functools
import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from service import __version__

ROOT = Path(__file__).parents[1]


def facts() -> dict[str, Any]:
    """The facts shared by all rows of a measurement; without host or user names."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "commit": commit(),
        "versions": versions(),
    }


def describe_machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def label(description: dict[str, Any]) -> str:
    """The machine as part of a file name: `2-cores-amd-epyc`."""
    return re.sub(r"[^a-z0-9]+", "-", f"{description['cores']} cores {description['cpu']}".lower()).strip("-")


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def commit() -> str:
    """The checked-out commit, with `+changes` if tracked files differ; `unknown` outside a checkout."""
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{head}+changes" if head and changes else head or "unknown"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def versions() -> dict[str, str]:
    import av
    import cv2  # not at the top: `benchmarks.devices` must run without OpenCV and imageio-ffmpeg

    return {
        "reelmill": __version__,
        "python": platform.python_version(),
        "av": av.__version__,
        "av_ffmpeg": av.ffmpeg_version_info,
        "ffmpeg": ffmpeg_version(),
        "opencv": cv2.__version__,
        "boto3": version("boto3"),
    }


@functools.cache
def ffmpeg_path() -> str:
    """The system's ffmpeg, or else imageio-ffmpeg's."""
    import imageio_ffmpeg

    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_version() -> str:
    done = subprocess.run([ffmpeg_path(), "-version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0].removeprefix("ffmpeg version ").split(" Copyright")[0]
