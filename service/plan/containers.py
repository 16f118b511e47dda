"""Which file formats can hold which codec, so that common players show the right colours at the right times."""

from typing import Literal

from service.errors import invalid_field

Codec = Literal["h264", "av1", "hevc", "mjpeg", "ffv1"]
Container = Literal["mp4", "mov", "mkv", "avi"]

HOLDERS: dict[Codec, tuple[Container, ...]] = {
    "h264": ("mp4", "mov", "mkv"),
    "hevc": ("mp4", "mov", "mkv"),
    "av1": ("mp4", "mkv"),
    "mjpeg": ("avi", "mov", "mkv"),
    "ffv1": ("mkv",),
}
"""The first is the default. AVI has no timestamps for B-frames, and no word for range or matrix; MOV has no AV1 and no
FFV1."""

MEDIA_TYPES: dict[Container, str] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
}


def container_of(codec: Codec, wanted: Container | None, *, timed: bool = False) -> Container:
    """The file format of a render; `timed`: pictures last as long as each says, which AVI has no word for.

    Raises Invalid for one that cannot hold it.
    """
    holders = tuple(holder for holder in HOLDERS[codec] if not (timed and holder == "avi"))
    if wanted is None:
        return holders[0]
    if timed and wanted == "avi":
        detail = f"avi cannot hold pictures of unequal length: use {' or '.join(holders)}, or timing uniform"
        raise invalid_field("#/container", detail, "container")
    if wanted not in holders:
        others = ", ".join(name for name, held in HOLDERS.items() if wanted in held)
        detail = f"{wanted} cannot hold {codec}: use {' or '.join(holders)}; {wanted} is for {others}"
        raise invalid_field("#/container", detail, "container")
    return wanted
