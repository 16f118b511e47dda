"""Versions of what a comparison of devices depends on; None for what is not installed."""

import platform
from importlib.metadata import PackageNotFoundError, version

import av

from service import __version__

PACKAGES = ("av", "numpy", "pillow", "torch", "torchvision", "triton", "PyNvVideoCodec")


def package_versions(nvidia_driver: str | None) -> dict[str, str | None]:
    """`driver` is NVIDIA's."""
    ours = {"reelmill": __version__, "python": platform.python_version(), "av_ffmpeg": av.ffmpeg_version_info}
    return ours | {name: _installed_version(name) for name in PACKAGES} | {"nvidia_driver": nvidia_driver}


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
