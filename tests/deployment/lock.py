"""The lock files in deploy/, from which the images install: `python -m tests.deployment.lock [--upgrade]` writes them.

uv resolves pyproject.toml for the Python and the platforms of each image. Pins that still fit are kept. Only hashes of
wheels that these platforms can use are written, so that pip refuses every other file. In the end each file is installed
for each platform, as a dry run, with hashes required: that fails if something is missing.
"""

import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.deployment.lock_file import LOCKS, OURSELVES, Lock, LockedDistribution, read_lock, write_lock

# Debian 12, which the images are based on, has glibc 2.36.
PLATFORMS = ("x86_64-manylinux_2_36", "aarch64-manylinux_2_36")


@dataclass(frozen=True)
class Wheel:
    """A file of the package index."""

    distribution: str
    version: str
    sha256: str


def build_lock(lock: Lock, *, upgrade: bool = False) -> None:
    """Resolve and write one lock file. Raises SystemExit if a platform needs other distributions than the first one."""
    arguments = ["--generate-hashes", "--no-header", "--annotation-style", "line", *(["--upgrade"] if upgrade else [])]
    _compile(lock, PLATFORMS[0], lock.path, *arguments)
    resolved = read_lock(lock.path)
    wheels = {wheel for platform in PLATFORMS for wheel in _wheels(lock, platform)}
    if {(wheel.distribution, wheel.version) for wheel in wheels} != {(each.name, each.version) for each in resolved}:
        raise SystemExit(f"{lock.path.name}: the platforms need different distributions")
    declared = {canonicalize_name(requirement.name) for requirement in lock.declared()}
    write_lock(lock, [_complete(each, wheels, each.name in declared) for each in resolved])


def _complete(found: LockedDistribution, wheels: set[Wheel], declared: bool) -> LockedDistribution:
    """With the hashes of these wheels alone, and with us among those who require it."""
    hashes = sorted(wheel.sha256 for wheel in wheels if wheel.distribution == found.name)
    required_by = [*([OURSELVES] if declared else []), *(name for name in found.required_by if name != OURSELVES)]
    return LockedDistribution(found.name, found.version, tuple(hashes), tuple(required_by))


def _wheels(lock: Lock, platform: str) -> list[Wheel]:
    """The wheels that this platform can use of what is locked."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "pylock.toml"
        _compile(lock, platform, output, "--format", "pylock.toml", "--constraints", str(lock.path))
        packages = tomllib.loads(output.read_text())["packages"]
    return [
        Wheel(package["name"], package["version"], wheel["hashes"]["sha256"])
        for package in packages
        for wheel in package["wheels"]
    ]


def check_lock(lock: Lock) -> None:
    """Have uv plan an installation from nothing but this file. Raises CalledProcessError if that does not work."""
    with tempfile.TemporaryDirectory() as folder:
        for platform in PLATFORMS:
            where = ["--python-version", lock.python, "--python-platform", platform, "--target", folder]
            _run_uv("install", "--dry-run", "--require-hashes", *where, "--requirements", str(lock.path))


def _compile(lock: Lock, platform: str, output: Path, *arguments: str) -> None:
    where = ["--python-version", lock.python, "--python-platform", platform, "--output-file", str(output)]
    _run_uv("compile", *where, *arguments, "-", text="\n".join(map(str, lock.declared())))


def _run_uv(command: str, *arguments: str, text: str | None = None) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run(
        [uv, "pip", command, "--quiet", "--only-binary", ":all:", *arguments], input=text, text=True, check=True
    )


if __name__ == "__main__":
    for each in LOCKS.values():
        build_lock(each, upgrade="--upgrade" in sys.argv)
        check_lock(each)
