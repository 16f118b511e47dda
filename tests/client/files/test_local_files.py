"""What `ingest` finds in a folder with everything that NAS boxes, cameras and archives leave there."""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.client.errors import FolderError
from service.client.files.local_files import FolderSurvey, StoredFiles, printable, survey_folder

GOOD = (
    *("a.jpg", "day 1/b c.jpg", " lead.jpg", "trail.jpg ", "50%.jpg", "q?x.jpg", "h#x.jpg", "p+x.jpg", "dots..jpg"),
    *(
        "end.jpg.",
        "caf\u00e9.jpg",
        "cafe\u0301.jpg",
        "\U0001f98b.jpg",
        "A.JPG",
        "CON.jpg",
        "x" * 251 + ".jpg",
        "note.txt",
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in GOOD:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def _left_out(survey: FolderSurvey) -> dict[str, tuple[str, bool]]:
    return {left.name: (left.reason, left.is_media) for left in survey.left_out}


def test_ordinary_names_are_all_taken(folder: Path) -> None:
    survey = survey_folder(folder, "frames")
    assert set(survey.files) == set(GOOD) and not survey.left_out and not survey.excluded.counts


def test_names_that_no_store_takes_are_named(folder: Path) -> None:
    bad = [b"caf\xe9.jpg", b"C:\\cam\\a.jpg", b"two\nlines.jpg", b"bell\x07.jpg", b"\xff\xfe.txt"]
    for name in bad:
        (folder / os.fsdecode(name)).write_bytes(b"x")
    deep = folder / ("d" * 200) / ("e" * 200) / ("f" * 200)
    deep.mkdir(parents=True)
    (deep / f"{'g' * 200}.jpg").write_bytes(b"x")
    survey = survey_folder(folder, "frames")
    assert set(survey.files) == set(GOOD)
    lines = [str(left) for left in survey.left_out]
    assert r"caf\xe9.jpg: its name cannot be stored: it is not in UTF-8" in lines
    for shown in ("C:\\cam\\a.jpg: ", r"two\nlines.jpg: ", r"bell\x07.jpg: ", r"\xff\xfe.txt: "):
        assert any(line.startswith(shown) for line in lines), lines
    assert [left.name for left in survey.left_out if not left.is_media] == [os.fsdecode(b"\xff\xfe.txt")], "a sidecar"
    assert len(lines) == len(bad) + 1 and all(line.isprintable() and line.encode() for line in lines)


def test_what_is_no_file_is_named_and_nothing_hangs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "broken.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(folder / "a.jpg")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.jpg").write_bytes(b"x")
    (folder / "linked day").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket may have 108 bytes
        listener.bind("socket.jpg")
        os.chdir(before)
    survey = survey_folder(folder, "frames")
    assert set(survey.files) == {*GOOD, "linked.jpg", "linked day/c.jpg"}
    assert _left_out(survey) == {
        "broken.jpg": ("a broken link", True),
        "self.jpg": ("a link in a circle", True),
        "loop": ("a link in a circle", True),
        "pipe.jpg": ("a named pipe, not a file", True),
        "socket.jpg": ("a socket, not a file", True),
        "folder.jpg": ("a folder, not a file", True),
    }


def test_folders_that_cannot_be_read_are_named() -> None:
    """As a user who may not: root may read everything."""
    script = (
        "import os, sys; from pathlib import Path; from service.client.files.local_files import survey_folder\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "print(*survey_folder(Path(sys.argv[1]), 'frames').left_out, sep='\\n')"
    )
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        (Path(name) / "a.jpg").write_bytes(b"x")
        locked = Path(name) / "locked"
        locked.mkdir(mode=0)
        done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True)
        locked.chmod(0o755)
    assert done.stdout == "locked/: this folder cannot be read (Permission denied)\n"


def test_what_belongs_to_systems_is_counted(folder: Path) -> None:
    for name in ("@eaDir/a.jpg", "day 1/@eaDir/b.jpg", ".thumbnails/a.jpg", ".Trash-1000/a.jpg", "#recycle/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in (".DS_Store", "Thumbs.db", "clip.3gp", "clip.mp4", "other.mp4"):
        (folder / name).write_bytes(b"x")
    survey = survey_folder(folder, "frames")
    assert set(survey.files) == set(GOOD) and not survey.left_out
    counts = {label: entry["count"] for label, entry in survey.excluded.counts.items()}
    assert counts == {"@eaDir": 2, "hidden": 3, "#recycle": 1, "Thumbs.db": 1, ".3gp": 1, ".mp4": 2}
    assert "2 .mp4 (clip.mp4, …; videos: make a dataset of kind video)" in str(survey.excluded)
    assert set(survey_folder(folder, "video").files) == {"clip.3gp", "clip.mp4", "other.mp4"}


def test_nothing_to_take(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="has no files"):
        survey_folder(tmp_path, "frames")
    with pytest.raises(FolderError, match="is not a folder"):
        survey_folder(tmp_path / "none", "frames")


def test_printable() -> None:
    assert printable(os.fsdecode(b"a\xe9\n\x1b[31m\\")) == r"a\xe9\n\x1b[31m" + "\\"
    assert printable("é 🦋") == "é 🦋"


def _stored(name: str, data: bytes, at: datetime, etag: str = "17f3-1") -> dict[str, Any]:
    return {name: {"name": name, "size": len(data), "etag": etag, "modified": at.isoformat()}}


def test_what_counts_as_unchanged(tmp_path: Path) -> None:
    """By time where the store has no digest; by the MD5 where it has one; a copied old time does not deceive."""
    path, new = tmp_path / "a.tif", b"new"
    path.write_bytes(new)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    local, now = path.stat(), datetime.now(UTC)
    later, earlier = now + timedelta(hours=1), now - timedelta(hours=1)
    md5, other = (hashlib.md5(data, usedforsecurity=False).hexdigest() for data in (new, b"old"))

    def has_same(stored: dict[str, Any], ahead_s: float = 0.0, checksum: bool = False) -> bool:
        return StoredFiles(stored, ahead_s, checksum).has_same(tmp_path, "a.tif", local)

    assert has_same(_stored("a.tif", new, later))
    assert not has_same(_stored("a.tif", new, earlier)), "its time is of 2017, but it was written after the upload"
    assert not has_same(_stored("a.tif", new, later), ahead_s=7200), "the service's clock is ahead"
    assert has_same(_stored("a.tif", new, earlier, md5)) and not has_same(_stored("a.tif", new, earlier, other))
    assert not has_same(_stored("a.tif", b"longer", later)) and not has_same({})
    assert not has_same(_stored("a.tif", new, later), checksum=True), "there is no digest to compare"
    assert not has_same(_stored("a.tif", new, later, other), checksum=True)
    assert has_same(_stored("a.tif", new, later, md5), checksum=True)
    os.utime(path, (4_000_000_000, 4_000_000_000))
    local = path.stat()
    assert has_same(_stored("a.tif", new, later)), "a camera's clock may be in the future"
