"""What a file's name says: image, video, or neither. Scans and `ingest` leave out and count the same files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from service.plan.formats import SourceKind

# A file with one of these suffixes is a frame even if it cannot be read. Others are frames only if they can be.
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
        *(".heic", ".heif", ".avif", ".jp2", ".dng", ".raw", ".exr", ".pgm", ".ppm"),
    )
)
# A file is a source video by its suffix alone.
VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mj2", ".insv", ".360", ".mkv", ".mk3d", ".webm"),
        *(".avi", ".divx", ".wmv", ".asf", ".flv", ".ogv", ".ogm", ".mxf", ".nut", ".rm", ".rmvb", ".gif", ".apng"),
        *(".ts", ".mts", ".m2ts", ".m2t", ".tod", ".mpg", ".mpeg", ".mpe", ".vob", ".mod", ".m1v", ".m2v", ".mpv"),
        *(".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".vc1", ".drc", ".ivf", ".obu", ".y4m", ".dv", ".dif"),
        *(".mjpeg", ".mjpg", ".swf", ".dav", ".gxf", ".wtv", ".h263", ".h261"),
    )
)
# Written beside frames by NAS boxes, Windows, macOS and file systems, in lower case. Hidden names are not listed.
SYSTEM_NAMES = frozenset(
    (
        *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "__macosx", "lost+found"),
        *("$recycle.bin", "recycler", "system volume information", "network trash folder", "temporary items"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
UNFINISHED_SUFFIXES = frozenset((".part", ".partial", ".filepart", ".crdownload", ".tmp", ".bak", ".swp"))
NO_SUFFIX, OTHERS, HIDDEN, FOLDER, DELETED = "no suffix", "others", "hidden", "folder", "deleted"
# Longer endings are parts of a name, not suffixes.
MAX_SUFFIX_LENGTH = 12
MAX_LABELS = 50


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a file is left out. `label` is its suffix, or what else it is counted under."""

    label: str
    reason: str


def suffix_of(path: str) -> str:
    """The suffix in lower case, with its dot; "" if there is none."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if 1 < len(suffix) <= MAX_SUFFIX_LENGTH else ""


def is_media_name(path: str, kind: SourceKind) -> bool:
    """Whether the suffix claims a frame or, for kind `video`, a source video."""
    return suffix_of(path) in (VIDEO_SUFFIXES if kind == "video" else IMAGE_SUFFIXES)


def excluded_by_name(path: str, kind: SourceKind) -> Exclusion | None:
    """Why a file of this relative path is not looked into; None if it may be a frame or source video."""
    if exclusion := excluded_by_folder(path):
        return exclusion
    suffix = suffix_of(path)
    if path == "" or path.endswith("/"):
        return Exclusion(FOLDER, "the marker of a folder")
    if suffix in UNFINISHED_SUFFIXES or path.endswith("~"):
        return Exclusion(suffix or NO_SUFFIX, "unfinished, or a backup")
    if kind == "frames":
        # shot.264 is the 264th of a sequence, until its content says that it is no image
        is_video = suffix in VIDEO_SUFFIXES - IMAGE_SUFFIXES and not suffix[1:].isdecimal()
        return Exclusion(suffix, "videos: make a dataset of kind video") if is_video else None
    if suffix in VIDEO_SUFFIXES:
        return None
    is_image = suffix in IMAGE_SUFFIXES
    return Exclusion(suffix, "images: make a dataset of kind frames") if is_image else not_media(path, kind)


def excluded_by_folder(path: str) -> Exclusion | None:
    """Why everything at or below this relative path is left out: a part of it is hidden, or belongs to the system."""
    for part in path.split("/"):
        if part.startswith("."):
            return Exclusion(HIDDEN, "hidden")
        if part.lower() in SYSTEM_NAMES:
            return Exclusion(part, "belongs to the system")
    return None


def not_media(path: str, kind: SourceKind) -> Exclusion:
    """The exclusion of a file that is not what the dataset consists of."""
    return Exclusion(suffix_of(path) or NO_SUFFIX, "not a video" if kind == "video" else "not an image")


# Frozen, though it counts, because slots send it: see `service.worker.slots.unpickling`.
@dataclass(frozen=True, slots=True)
class Exclusions:
    """Counts what is left out, by label; labels after the first fifty are counted together as `others`."""

    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, exclusion: Exclusion, path: str) -> None:
        """`path` is kept as the example if it is the first of its label."""
        label = exclusion.label
        if label not in self.counts and len(self.counts) >= MAX_LABELS:
            label = OTHERS
        entry = self.counts.setdefault(label, {"count": 0, "example": path, "reason": exclusion.reason})
        entry["count"] += 1

    def added_to(self, counts: Mapping[str, Mapping[str, Any]]) -> "Exclusions":
        """Together with what was counted before."""
        together = {label: dict(entry) for label, entry in counts.items()}
        for label, entry in self.counts.items():
            place = label if label in together or len(together) < MAX_LABELS else OTHERS
            before = together.get(place)
            together[place] = dict(entry) if before is None else before | {"count": before["count"] + entry["count"]}
        return Exclusions(together)

    @property
    def total(self) -> int:
        return sum(entry["count"] for entry in self.counts.values())

    def __str__(self) -> str:
        return describe_exclusions(self.counts)


def describe_exclusions(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """As text, the most frequent first: `12 .mp4 (a.mp4, …; videos: make a dataset of kind video), 1 .txt (b.txt)`."""
    ordered = sorted(counts.items(), key=lambda item: -item[1]["count"])
    return ", ".join(f"{entry['count']} {label} ({_details(entry)})" for label, entry in ordered)


def _details(entry: Mapping[str, Any]) -> str:
    more = ", …" if entry["count"] > 1 else ""
    advice = f"; {entry['reason']}" if ":" in entry["reason"] else ""
    return f"{entry['example']}{more}{advice}"
