"""The layout of keys in the service's own bucket."""

from uuid import UUID

# See `plan.preview.Preview.key` for what follows.
PREVIEW_PREFIX = "previews/"
UPLOAD_PREFIX = "frames/"
# What the service writes into its own bucket begins with one of these.
OWN_PREFIXES = ("segments/", "renders/", PREVIEW_PREFIX, UPLOAD_PREFIX)


def upload_prefix(experiment: UUID, dataset: UUID) -> str:
    """Where uploads into a dataset are stored."""
    return f"{experiment_prefix(experiment)}{dataset}/"


def experiment_prefix(experiment: UUID) -> str:
    """Where uploads into the datasets of an experiment are stored."""
    return f"{UPLOAD_PREFIX}{experiment}/"


def preview_prefix(dataset: UUID) -> str:
    """Where the previews of a dataset's frames are stored."""
    return f"{PREVIEW_PREFIX}{dataset}/"


def output_frame_prefix(dataset: UUID, render: UUID) -> str:
    """Where pictures of a render's output frames are stored."""
    return f"{preview_prefix(dataset)}{render}/"


# Names of a segment's video and of its receipt (NDJSON, one line per planned frame) for `artifact_key`.
SEGMENT_VIDEO, SEGMENT_RECEIPT = "mp4", "ndjson"


def segment_key(content_key: str) -> str:
    return artifact_key(content_key, SEGMENT_VIDEO)


def artifact_key(content_key: str, name: str) -> str:
    """A file of one segment."""
    return segment_prefix(content_key) + name


def segment_prefix(content_key: str) -> str:
    """What the keys of all files of one segment begin with. SQL in `cache.eviction` builds the same."""
    return f"segments/{content_key[:2]}/{content_key}."


def content_key_of(prefix: str) -> str | None:
    """The content key that `segment_prefix` made this of; None for other prefixes."""
    kind, _, name = prefix.partition("/")
    return name[3:-1] if kind == "segments" else None


def render_prefix(render: UUID) -> str:
    """Where the files of a render are stored."""
    return f"renders/{render}/"


def render_object_key(render: UUID, name: str) -> str:
    return f"{render_prefix(render)}{name}"
