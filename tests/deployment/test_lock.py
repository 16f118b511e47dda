"""The lock files: they have all that pyproject.toml asks for, nothing else, and pip installs nothing that is not in them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deployment.files import DOCKERFILES, dockerfile
from tests.deployment.lock_file import LOCKS, OURSELVES, Lock, LockedDistribution, read_lock, render_entry
from tests.support.source_code import ROOT

MACHINES = ("x86_64", "aarch64")
# Small wheels: one for each platform, and one for all.
DOWNLOADED = {"markupsafe", "six"}


def entries(lock: Lock) -> dict[str, LockedDistribution]:
    return {entry.name: entry for entry in read_lock(lock.path)}


def missing(lock: Lock, requirements: list[Requirement], extras: set[str]) -> Iterator[str]:
    """Requirements that hold on a platform of the images and that the lock does not meet."""
    locked = entries(lock)
    for requirement in requirements:
        for machine in MACHINES:
            where = {
                "python_version": lock.python,
                "python_full_version": f"{lock.python}.9",
                "platform_machine": machine,
            }
            where |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
            marker = requirement.marker
            if marker is None or any(marker.evaluate(where | {"extra": extra}) for extra in extras | {""}):
                entry = locked.get(canonicalize_name(requirement.name))
                if entry is None or not requirement.specifier.contains(entry.version, prereleases=True):
                    yield f"{requirement} on {machine}: {entry and entry.version}"


@pytest.mark.parametrize("name", LOCKS)
def test_it_has_what_pyproject_asks_for(name: str) -> None:
    assert list(missing(LOCKS[name], LOCKS[name].declared(), set())) == []


@pytest.mark.parametrize("name", LOCKS)
def test_it_has_what_its_distributions_ask_for(name: str) -> None:
    """Read out of those that are installed here in the locked version; pip refuses a lock that lacks one, too."""
    lock, compared = LOCKS[name], 0
    extras = {canonicalize_name(each.name): each.extras for each in lock.declared()}
    for entry in entries(lock).values():
        try:
            installed = distribution(entry.name)
        except PackageNotFoundError:
            continue
        if installed.version == entry.version:
            compared += 1
            requirements = [Requirement(line) for line in installed.requires or []]
            assert list(missing(lock, requirements, set(extras.get(entry.name, ())))) == [], entry.name
    assert compared > 0


@pytest.mark.parametrize("name", LOCKS)
def test_nothing_else_is_in_it(name: str) -> None:
    """Each distribution is required by us, or by one that is."""
    locked, reached = entries(LOCKS[name]), {OURSELVES}
    while found := {entry.name for entry in locked.values() if reached & set(entry.required_by)} - reached:
        reached |= found
    assert reached - {OURSELVES} == set(locked)
    assert all(set(entry.required_by) <= reached for entry in locked.values())


@pytest.mark.parametrize("name", LOCKS)
def test_each_entry_has_hashes(name: str) -> None:
    read = read_lock(LOCKS[name].path)
    assert [entry.name for entry in read] == sorted({entry.name for entry in read})
    assert [entry.name for entry in read if not entry.hashes or len(set(entry.hashes)) != len(entry.hashes)] == []


def test_a_line_without_a_hash_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "lock.txt"
    path.write_text("six==1.17.0 \\\n    --hash=sha256:" + "a" * 64 + "\n    # via reelmill\nh11>=0.16\n")
    with pytest.raises(ValueError, match="h11"):
        read_lock(path)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_images_install_from_it_alone(name: str) -> None:
    """Every `pip install` takes a lock file with hashes, or our own wheel without an index."""
    steps = [step["value"] for step in dockerfile(name).structure if step["instruction"] == "RUN"]
    installs = [
        part.strip() for step in steps for part in step.split("&&") if re.search(r"pip3? (install|wheel)", part)
    ]
    ours = [part for part in installs if "--no-index --no-deps" in part]
    locked = {part.split()[-1]: part for part in installs if part not in ours}
    files = {f"deploy/{lock.path.name}" for lock in LOCKS.values() if name in lock.dockerfiles}
    assert set(locked) == files
    assert all("--require-hashes --only-binary :all: -r " in part for part in locked.values())
    assert [bool(re.search(r"--no-build-isolation|/\*\.whl$", part)) for part in ours] == [True, True]


@pytest.mark.parametrize("lock", [lock for lock in LOCKS.values() if not lock.build], ids=lambda lock: lock.path.name)
def test_the_image_has_the_python_of_its_lock(lock: Lock) -> None:
    for name in lock.dockerfiles:
        assert f"ARG PYTHON_IMAGE=python:{lock.python}-slim-bookworm\n" in (ROOT / name).read_text()


def download(lock: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--retries", "0", "--timeout", "15", "--no-cache-dir", "--dest", str(folder), "-r", str(lock)]
    return subprocess.run(command, capture_output=True, text=True)


def test_pip_takes_these_wheels_and_no_others(tmp_path: Path) -> None:
    """With a real index: `make lock` has pip resolve the whole file."""
    lock, text = tmp_path / "lock.txt", "".join(render_entry(entries(LOCKS["cpu"])[name]) for name in DOWNLOADED)
    lock.write_text(text)
    done = download(lock, tmp_path / "wheels")
    if "No matching distribution found" in done.stderr:
        pytest.skip("needs a package index with these versions: pip found none")
    assert done.returncode == 0, done.stderr
    assert {canonicalize_name(path.name.split("-")[0]) for path in (tmp_path / "wheels").iterdir()} == DOWNLOADED
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", text))
    done = download(lock, tmp_path / "others")
    assert done.returncode == 1 and "DO NOT MATCH THE HASHES" in done.stderr
