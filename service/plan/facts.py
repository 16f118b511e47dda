"""What planning needs to know beside the request: the dataset, its capture times, the devices, the limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from pydantic import Field

from service.environment import EnvironmentSettings
from service.errors import InvalidRequest, invalid_field
from service.plan.capability import Capability
from service.plan.colour import Colour
from service.plan.formats import SourceKind
from service.plan.geometry import Size
from service.plan.render_plan import INTERLACED, FramePolicy, Gaps
from service.plan.tone import Levels


class RenderLimits(EnvironmentSettings):
    """Bounds on one render and on one caller."""

    max_frames: int = 1_000_000  # 9 h of video at 30 fps
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        le=2**40,
        validation_alias="REELMILL_MAX_PIXELS",
        description="pixels of one source frame",
    )
    max_queued: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        validation_alias="REELMILL_MAX_QUEUED",
        description="unfinished renders one caller may have",
    )
    max_queued_total: int = Field(
        default=2000,
        ge=1,
        le=10_000_000,
        validation_alias="REELMILL_MAX_QUEUED_TOTAL",
        description="unfinished renders that all callers may have together; one of them may have as many as are free",
    )


@dataclass(frozen=True, slots=True)
class ClusterCapabilities:
    """What the live workers can do together; `slots_per_device` is how many slots use one GPU at a time."""

    capabilities: tuple[Capability, ...] = ()
    slots_per_device: float = 1.0


@dataclass(frozen=True, slots=True)
class Cadence:
    """Frames follow each other at about `interval_us` microseconds; by that, `missing` frames are missing.

    `gaps` are the first places where, each with `after_index` and `count`. `pauses` are too long to be gaps.
    `from_names`: the names of the frames have the times, and files without a time of their own take them from there.
    """

    interval_us: int
    missing: int
    pauses: int
    from_names: bool
    gaps: Sequence[Mapping[str, int]] = ()


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset as its last scan left it.

    `width` x `height` is the usual size of a frame as shown, None when no frame can be read; `stored_size` is that in
    stored pixels if they are not square, `pixel_aspect` their width to their height, None if the scan did not note it.
    `pixel_formats` says how many frames have each format. `captured` holds the first and the last capture time. Frame
    numbers are `number_first` + k * `number_stride`; `first_gap` is the first number without a frame, `gap_frames` how
    many there are. `field_orders` says how many pictures of source videos have each field order. `digest` changes with
    the content.
    """

    id: UUID
    experiment_id: UUID
    name: str
    kind: SourceKind
    bucket: str
    state: str = "ready"
    error: str | None = None
    frame_count: int = 0
    width: int | None = None
    height: int | None = None
    stored_size: Size | None = None
    pixel_aspect: Fraction | None = Fraction(1)
    formats: tuple[str, ...] = ()
    pixel_formats: Mapping[str, int] = field(default_factory=dict)
    levels: Levels | None = None
    captured: tuple[datetime, datetime] | None = None
    first_gap: int | None = None
    gap_frames: int = 0
    number_first: int | None = None
    number_stride: int | None = None
    digest: str = ""
    cadence: Cadence | None = None
    field_orders: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_interlaced_pictures(self) -> bool:
        return any(order in INTERLACED for order in self.field_orders)

    @property
    def has_capture_times(self) -> bool:
        """Whether frames have capture times; pictures of a source video have none in the catalogue."""
        return self.kind != "video" and self.captured is not None

    def missing_frames(self, gaps: Gaps) -> int:
        """How many frames are missing by the numbering, or by the usual interval of the capture times."""
        if gaps == "interval":
            return self.cadence.missing if self.cadence else 0
        return self.gap_frames if gaps == "numbers" else 0

    def counts_gaps(self, missing: FramePolicy, gaps: Gaps = "numbers") -> bool:
        """Whether a missing frame has a position of its own under this policy."""
        placed = gaps == "interval" or bool(self.number_stride)
        return missing != "skip" and placed and self.missing_frames(gaps) > 0

    def position_count(self, missing: FramePolicy, gaps: Gaps = "numbers") -> int:
        """Positions of the dataset: its frames, and the missing ones unless those are skipped."""
        return self.frame_count + (self.missing_frames(gaps) if self.counts_gaps(missing, gaps) else 0)

    def capture_times_error(self, pointer: str, instead: str) -> InvalidRequest | None:
        """Why the field at `pointer`, which needs capture times, cannot be used; None when it can."""
        if self.kind == "video":
            detail = f"the catalogue has no capture times of a source video's pictures: {instead}"
        elif self.captured is None:
            detail = f"no frame of the dataset says when it was captured: {instead}"
        else:
            return None
        return invalid_field(pointer, detail, "no_capture_times")


@dataclass(frozen=True, slots=True)
class CapturedFrames:
    """The frames captured within a time window: their first and last index, lowest and highest number."""

    first_index: int
    last_index: int
    first_number: int | None
    last_number: int | None


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """Everything that one request is planned from.

    `datasets` are those that the request can mean: of its experiment and, when it names a dataset, of that id.
    `pixel_size_um` is the side of a source pixel in micrometres (see `overlay.pixel_size_of`), `captured` the frames in
    the request's time window; None when there are none, or no window. `colours` are those of the dataset's source
    videos, each once, in the order of the sources; empty when its scan did not note those of all.
    """

    limits: RenderLimits
    experiment_exists: bool = True
    datasets: tuple[DatasetFacts, ...] = ()
    pixel_size_um: float | None = None
    captured: CapturedFrames | None = None
    cluster: ClusterCapabilities = ClusterCapabilities()
    colours: tuple[Colour, ...] = ()
