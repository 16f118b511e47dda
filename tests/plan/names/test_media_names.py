"""What names say: which files are looked into, and under which label the others are counted."""

import pytest

from service.plan.names.media_names import Exclusion, Exclusions, excluded_by_name, is_media_name, suffix_of


@pytest.mark.parametrize(
    ("path", "frames", "video"),
    [
        ("a.jpg", None, ".jpg"),
        ("deep/er/a.TIFF", None, ".tiff"),
        ("a.heic", None, ".heic"),
        ("a.gif", None, None),
        ("a.3gp", ".3gp", None),
        ("a.H264", ".h264", None),
        ("a.mp4", ".mp4", None),
        ("a.txt", None, ".txt"),
        ("README", None, "no suffix"),
        ("2026-05-04.jpg.longer-than-a-suffix", None, "no suffix"),
        (".a.jpg", "hidden", "hidden"),
        (".thumbnails/a.jpg", "hidden", "hidden"),
        ("day/.Trash-1000/files/a.jpg", "hidden", "hidden"),
        ("day/@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", "@eaDir", "@eaDir"),
        ("#recycle/a.mp4", "#recycle", "#recycle"),
        ("@Recently-Snapshot/x/a.jpg", "@Recently-Snapshot", "@Recently-Snapshot"),
        ("__MACOSX/a.jpg", "__MACOSX", "__MACOSX"),
        ("lost+found/a.jpg", "lost+found", "lost+found"),
        ("Thumbs.db", "Thumbs.db", "Thumbs.db"),
        ("a.jpg.part", ".part", ".part"),
        ("a.jpg~", ".jpg~", ".jpg~"),
        ("day/", "folder", "folder"),
        ("", "folder", "folder"),
    ],
)
def test_what_a_name_excludes(path: str, frames: str | None, video: str | None) -> None:
    found = [excluded_by_name(path, "frames"), excluded_by_name(path, "video")]
    assert [one and one.label for one in found] == [frames, video]


def test_what_claims_to_be_media() -> None:
    assert is_media_name("x/a.JPEG", "frames") and not is_media_name("a.jpeg", "video")
    assert is_media_name("a.3gp", "video") and not is_media_name("a.3gp", "frames")
    assert (suffix_of("a"), suffix_of("a."), suffix_of(".jpg")) == ("", "", "")


def test_counts_are_bounded_and_read_well() -> None:
    found = Exclusions()
    for number in range(60):
        found.add(Exclusion(f".{number:03d}", "not an image"), f"a.{number:03d}")
    assert (len(found.counts), found.total, found.counts["others"]["count"]) == (51, 60, 10)
    few = Exclusions()
    for path in ("b.txt", "c/a.mp4", "c/b.mp4"):
        few.add(excluded_by_name(path, "frames") or Exclusion(".txt", "not an image"), path)
    assert str(few) == "2 .mp4 (c/a.mp4, …; videos: make a dataset of kind video), 1 .txt (b.txt)"
