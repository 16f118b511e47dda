"""Request and response models of datasets and frames."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.plan.formats import SourceKind
from service.plan.names.safe_paths import safe_path
from service.routers.http.fields import EXAMPLE_DATASET_ID, EXAMPLE_EXPERIMENT_ID, RequestModel, StorableText
from service.routers.http.pagination import PageQuery
from service.routers.http.problems import ItemProblem

EXAMPLE_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
DatasetState = Literal["empty", "scanning", "ready", "failed"]


def _safe_prefix(prefix: str) -> str:
    return prefix if prefix == "" else safe_path(prefix.removesuffix("/")) + ("/" if prefix.endswith("/") else "")


DatasetName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"\S"), StorableText
]


class DatasetQuery(PageQuery):
    """Filter, order and page of the list of datasets."""

    sort: Literal["created_at", "-created_at", "name", "-name"] = Field(
        "created_at", description="prefix `-`: descending"
    )
    q: Annotated[str, StringConstraints(max_length=200), StorableText] | None = Field(
        None, description="only names that contain this text"
    )


class NewDataset(RequestModel):
    """A dataset to register: where its frames or source videos are stored, or no location if they will be uploaded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "camera-1", "kind": "frames", "bucket": "microscope", "prefix": "2026-03-01/camera-1/"},
                {"name": "camera-2", "kind": "frames"},
            ]
        },
    )
    name: DatasetName = Field(description="unique within the experiment")
    kind: SourceKind = Field("frames", description="`frames`: objects are images; `video`: objects are source videos")
    prefix: Annotated[str, AfterValidator(_safe_prefix)] | None = Field(
        None, description="prefix of the object keys (end a folder with `/`); unset: the dataset's own upload area"
    )
    bucket: Annotated[str, StringConstraints(min_length=3, max_length=63)] | None = Field(
        None, description="unset: the service's own bucket; others must be open to you by MINIO_SOURCES"
    )


class DatasetChange(RequestModel):
    """The changes of a dataset. Its location cannot change, because existing renders refer to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "camera-1-repaired"}]})
    name: DatasetName = Field(description="unique within the experiment")


class SizeCount(BaseModel):
    """The number of frames of one size, in pixels as shown; of source videos, also the stored pixels."""

    width: int
    height: int
    count: int
    stored_width: int | None = Field(None, description="in pixels as stored; only of source videos")
    stored_height: int | None = Field(None, description="in pixels as stored; only of source videos")
    pixel_aspect: str | None = Field(None, description="width to height of a stored pixel, such as 16/15")


class SizeRange(BaseModel):
    """The smallest and largest width and height, in pixels."""

    min_width: int
    max_width: int
    min_height: int
    max_height: int


class Gap(BaseModel):
    """A gap in the numbering: `count` frames, from `number` on, are missing after the frame `after_index`."""

    after_index: int
    number: int
    count: int


class ExcludedFiles(BaseModel):
    """Objects under the prefix that the scan left out."""

    count: int
    example: str = Field(description="one of them, named below the folder of the prefix")
    reason: str = Field(description="why they are left out")


class UnreadableFrames(BaseModel):
    """Frames or source videos that cannot be read, for one reason."""

    reason: str
    count: int
    example: str = Field(description="one of them, named below the folder of the prefix")


class IntervalGap(BaseModel):
    """Frames that are missing by the usual time between captures, after the frame `after_index`."""

    after_index: int
    count: int


class CadenceFacts(BaseModel):
    """The usual time between frames, and the frames that are missing by it: see `gaps` of a render."""

    interval_seconds: float = Field(description="the median time between frames")
    from_names: bool = Field(description="capture times come from the names of the frames that have no other")
    missing: int = Field(description="frames that are missing in gaps of up to 100 intervals")
    pauses: int = Field(description="longer gaps, in which nothing counts as missing")
    gaps: list[IntervalGap] = Field(description="the first 100 gaps")


class ScanJob(BaseModel):
    """A scan. `progress` counts the objects that it has examined."""

    id: UUID
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: int


class HistogramFacts(BaseModel):
    """How often sample values are, in equal steps: over all 8-bit values, or where all but 0.1 % at each end are."""

    low: float = Field(description="where the first step begins")
    high: float = Field(description="where the last step ends")
    shares: list[float] = Field(description="share of the samples in each step, at most 64")


class LevelFacts(BaseModel):
    """Statistics of the sample values, in their own unit, from up to 64 frames of the sequence."""

    dtype: str
    bits: int
    channels: int
    frames: int
    low: float = Field(description="the smallest sample; frames that were not measured may have smaller ones")
    high: float = Field(description="the largest sample; frames that were not measured may have larger ones")
    nan: int = Field(description="number of samples that are NaN")
    inf: int = Field(description="number of infinite samples")
    percentiles: dict[str, float]
    histogram: HistogramFacts


class Follow(BaseModel):
    """What came of following a dataset. The counts are of objects, since it is followed."""

    since: datetime
    looked_at: datetime | None = Field(
        description="when everything that was there was last known; the `ETag` does not change with it"
    )
    changed_at: datetime | None = Field(description="when something that had changed was last taken over")
    problem: str | None = Field(
        None,
        description="why nothing is found at present, such as a bucket that is away; looks go on with growing gaps",
    )
    appended: int = Field(description="came behind all others")
    late: int = Field(description="came before others: the frames after them have higher indexes now")
    replaced: int = Field(description="same name, other content")
    vanished: int = Field(description="are gone; the frames after them have lower indexes now")


class Dataset(BaseModel):
    """An ordered sequence of frames, and the facts that the last scan found."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_DATASET_ID,
                    "experiment_id": EXAMPLE_EXPERIMENT_ID,
                    "name": "camera-1",
                    "kind": "frames",
                    "bucket": "microscope",
                    "prefix": "2026-03-01/camera-1/",
                    "state": "ready",
                    "error": None,
                    "frame_count": 899,
                    "bytes": 188_790_000,
                    "width": 1920,
                    "height": 1080,
                    "size_range": {"min_width": 1920, "max_width": 1920, "min_height": 1080, "max_height": 1080},
                    "sizes": [{"width": 1920, "height": 1080, "count": 898}],
                    "formats": ["jpeg"],
                    "captured_from": "2026-03-01T10:00:00Z",
                    "captured_to": "2026-03-01T10:15:00Z",
                    "gap_frames": 1,
                    "gaps": [{"after_index": 99, "number": 100, "count": 1}],
                    "unreadable_frames": 1,
                    "unreadable": [{"reason": "the file is empty", "count": 1, "example": "frame_00412.jpg"}],
                    "excluded": {".txt": {"count": 3, "example": "notes.txt", "reason": "not an image"}},
                    "number_first": 0,
                    "number_stride": 1,
                    "cadence": {
                        "interval_seconds": 1.0,
                        "from_names": False,
                        "missing": 1,
                        "pauses": 0,
                        "gaps": [{"after_index": 99, "count": 1}],
                    },
                    "field_orders": {},
                    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "scanned": 899,
                    "levels": None,
                    "followed": True,
                    "follow": {
                        "since": "2026-03-01T11:00:00Z",
                        "looked_at": "2026-03-01T11:42:03Z",
                        "changed_at": "2026-03-01T11:41:57Z",
                        "problem": None,
                        "appended": 899,
                        "late": 0,
                        "replaced": 0,
                        "vanished": 0,
                    },
                    "created_at": "2026-03-01T11:00:00Z",
                    "updated_at": "2026-03-01T11:00:05Z",
                }
            ]
        }
    )
    id: UUID
    experiment_id: UUID
    name: str
    kind: SourceKind
    bucket: str
    prefix: str
    state: DatasetState
    error: str | None = Field(description="the reason, if the state is `failed`")
    frame_count: int
    bytes: int = Field(description="total size of all frames or source videos")
    width: int | None = Field(description="the most common width, after EXIF orientation")
    height: int | None = Field(description="the most common height, after EXIF orientation")
    size_range: SizeRange | None
    sizes: list[SizeCount] = Field(description="most common first, at most 20")
    formats: list[str] = Field(description="image formats, or codecs of source videos")
    captured_from: datetime | None = Field(
        description="earliest capture time; camera time without an offset is shown as UTC"
    )
    captured_to: datetime | None = Field(description="latest capture time")
    gap_frames: int = Field(description="number of frames missing from a regular numbering")
    gaps: list[Gap] = Field(description="the first 100 gaps")
    unreadable_frames: int = Field(
        description="number of frames with a `problem`; `/frames?unreadable=true` lists them"
    )
    unreadable: list[UnreadableFrames] = Field(description="their reasons, most common first, at most 20")
    excluded: dict[str, ExcludedFiles] = Field(
        description="what the last scan left out, by suffix; also `no suffix`, `hidden`, `folder`, `deleted`, names "
        "of system folders such as `@eaDir`, and `others` after 50 labels"
    )
    number_first: int | None = Field(description="number of frame 0, if the numbering is regular")
    number_stride: int | None = Field(description="difference between consecutive numbers, if they are regular")
    cadence: CadenceFacts | None = Field(
        None, description="set if all frames have a capture time and most follow at one interval"
    )
    field_orders: dict[str, int] = Field(
        default_factory=dict,
        description="number of pictures of source videos that are `progressive`, or interlaced with the `top` or the "
        "`bottom` field first, or `mixed` (each says so itself), or `separate` fields of half the height",
        examples=[{"top": 250}],
    )
    digest: str = Field(description="SHA-256 of the ordered keys, ETags and sizes")
    scanned: int = Field(description="objects that the scan has examined so far")
    levels: LevelFacts | None = Field(None, description="only for frames of more than 8 bits and for gray frames")
    followed: bool = Field(False, description="new objects under its prefix become frames by themselves")
    follow: Follow | None = Field(None, description="what came of it; null if it is not followed")
    created_at: datetime
    updated_at: datetime


class DatasetAndScan(BaseModel):
    """A dataset and its queued or running scan; `scan` is null if the dataset is empty."""

    dataset: Dataset
    scan: ScanJob | None


class Frame(BaseModel):
    """One frame of the sequence."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "index": 0,
                    "key": "2026-03-01/camera-1/frame_00000.jpg",
                    "number": 0,
                    "size": 210_000,
                    "etag": EXAMPLE_ETAG,
                    "format": "jpeg",
                    "width": 1920,
                    "height": 1080,
                    "captured_at": "2026-03-01T10:00:00Z",
                    "problem": None,
                }
            ]
        }
    )
    index: int
    key: str
    number: int | None = Field(description="the last number in the file name")
    size: int = Field(description="in bytes")
    etag: str
    format: str | None
    width: int | None
    height: int | None
    captured_at: datetime | None
    problem: str | None = Field(description="the reason, if the frame cannot be read")
    page: int | None = Field(None, description="page of a multi-page TIFF, from 0")
    bits: int | None = Field(None, description="bits per sample")


class StoredObject(BaseModel):
    """An object under the dataset's prefix."""

    name: str = Field(description="key without the prefix of the dataset", examples=["frame_00000.jpg"])
    size: int = Field(description="in bytes", examples=[210_000])


class StoredObjectDetails(StoredObject):
    """An object under the dataset's prefix; `etag` and `modified` only with `details`."""

    etag: str | None = Field(
        None, description="of S3, the MD5 of the content if it was sent in one part", examples=[EXAMPLE_ETAG]
    )
    modified: datetime | None = Field(None, description="when it was stored", examples=["2026-03-01T10:00:00Z"])


class Uploaded(StoredObject):
    """An object that was stored."""

    etag: str = Field(examples=[EXAMPLE_ETAG])


class BundledFile(BaseModel):
    """A file of a bundle: `size` and `etag` if it was stored, `problem` if not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "frame_00000.jpg", "size": 210_000, "etag": EXAMPLE_ETAG}],
        }
    )
    name: str = Field(description="as in the archive, without `./` at the beginning")
    size: int | None = Field(default=None, description="in bytes")
    etag: str | None = None
    problem: ItemProblem | None = Field(default=None, description="why this file was not stored")
