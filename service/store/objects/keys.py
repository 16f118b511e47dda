"""Keys of our own objects in the service's bucket."""

from uuid import UUID


def segment_key(content_key: str) -> str:
    return f"segments/{content_key[:2]}/{content_key}.mp4"


def receipt_key(content_key: str) -> str:
    """The receipt of one segment: NDJSON, one line per planned frame."""
    return f"segments/{content_key[:2]}/{content_key}.ndjson"


def artifact_key(content_key: str, name: str) -> str:
    """One segment's part of a by-product."""
    return f"segments/{content_key[:2]}/{content_key}.{name}"


def render_object_key(render: UUID, name: str) -> str:
    return f"renders/{render}/{name}"
