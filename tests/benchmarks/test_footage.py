"""Generated frames, and folders that are accepted or rejected."""

from pathlib import Path

import pytest

from benchmarks import footage
from benchmarks.footage import UnusableFolder
from benchmarks.scenes import JPEG_QUALITIES
from tests.support.data.media import flat_picture, jpeg


def test_the_same_frames_every_time(tmp_path: Path) -> None:
    one, other = (footage.load_or_create(3, (160, 96), tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in one.frames] == [path.read_bytes() for path in other.frames]
    assert len({path.read_bytes() for path in one.frames}) == 3
    assert one.shape == (3, 160, 96)
    assert one.bytes == sum(path.stat().st_size for path in one.frames)


def test_four_kinds_of_footage_differ_and_move(tmp_path: Path) -> None:
    found = {kind: footage.load_or_create(3, (320, 180), tmp_path, kind) for kind in JPEG_QUALITIES}
    assert list(found) == ["street", "night", "microscope", "screen"]
    pictures = [path.read_bytes() for made in found.values() for path in made.frames]
    assert len(set(pictures)) == 12
    assert {made.shape for made in found.values()} == {(3, 320, 180)}


def test_frames_are_made_once(tmp_path: Path) -> None:
    first = footage.load_or_create(2, (160, 96), tmp_path).frames[0]
    first.write_bytes(jpeg(flat_picture((1, 2, 3), 160, 96)))
    changed = first.read_bytes()
    assert footage.load_or_create(2, (160, 96), tmp_path).frames[0].read_bytes() == changed


def test_a_folder_is_taken_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.jpg", "f9.JPEG", "f1.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(jpeg(flat_picture((9, 9, 9))))
    assert [path.name for path in footage.load_folder(tmp_path).frames] == ["f1.jpg", "f9.JPEG", "f10.jpg"]


def test_folders_that_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(UnusableFolder, match="no JPEGs"):
        footage.load_folder(tmp_path)
    with pytest.raises(UnusableFolder, match="no JPEGs"):
        footage.load_folder(tmp_path / "missing")
    (tmp_path / "a.jpg").write_bytes(jpeg(flat_picture((9, 9, 9), 64, 50)))
    with pytest.raises(UnusableFolder, match="64x50"):
        footage.load_folder(tmp_path)
    (tmp_path / "b.jpg").write_bytes(jpeg(flat_picture((9, 9, 9), 64, 48)))
    with pytest.raises(UnusableFolder, match="2 sizes"):
        footage.load_folder(tmp_path)
    (tmp_path / "c.jpg").write_bytes(b"a text file")
    with pytest.raises(UnusableFolder, match=r"c\.jpg cannot be read"):
        footage.load_folder(tmp_path)
