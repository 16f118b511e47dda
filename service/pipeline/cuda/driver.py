"""The interface between the pipeline and a GPU: everything that only a real device can do.

Calls queue work on streams of the device and return. Only `decode_jpegs` (inside torchvision), `Transfer.wait` and
`synchronise` block. Every call may raise a CudaError; after DeviceLost the process has to end.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from service.errors import first_line
from service.pipeline.cuda.errors import CudaUnavailable
from service.pipeline.frames import DevicePicture
from service.pipeline.picture import ClipCounts
from service.plan.formats import Effort
from service.plan.placement import REAL_DRIVER

Samples = np.ndarray[Any, Any]
Bytes2D = np.ndarray[Any, np.dtype[np.uint8]]
VideoCodec = Literal["h264", "hevc", "av1"]
# The name of a codec -> the same name, as a type that mypy knows.
VIDEO_CODECS: dict[str, VideoCodec] = {codec: codec for codec in get_args(VideoCodec)}


class DeviceMemory(NamedTuple):
    """Of the whole device, in bytes: all processes count."""

    free: int
    total: int


class DeviceImage(Protocol):
    """A decoded picture in device memory, before rotation and scaling; sizes in pixels."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def kind(self) -> Literal["rgb", "gray", "nv12"]:
        """rgb and gray: 8 bits, or any depth after `upload`. nv12: an 8-bit 4:2:0 frame of a video."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class ToneCurve:
    """Sample -> level: `low` and `high` become 0 and 1, then `** gamma`, then `table`, uint8 R'G'B' (256, 3), for gray
    samples (None for R'G'B' samples). Compared by identity; one instance per segment."""

    low: float
    high: float
    gamma: float
    table: "Bytes2D | None"


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """From a stored image to a picture: crop, rotate clockwise, scale down, place on a black canvas.

    Sizes are (width, height) in pixels. `crop` is (left, top, right, bottom) of the stored image. `canvas` and `offset`
    (left, top) are even; an odd `size` is padded by a replicated edge. `full_range` is the range of an nv12 image;
    pictures always have limited range. `bin_size` consecutive images become one picture, their mean or their maximum;
    the last bin may have fewer.
    """

    size: tuple[int, int]
    canvas: tuple[int, int]
    offset: tuple[int, int] = (0, 0)
    crop: tuple[int, int, int, int] | None = None
    rotation: Literal[0, 90, 180, 270] = 0
    full_range: bool = False
    tone: ToneCurve | None = None
    bin_size: int = 1
    bin_mode: Literal["mean", "max"] = "mean"


class Transfer(Protocol):
    """A running download of pictures to host memory."""

    def wait(self) -> "tuple[Bytes2D, list[ClipCounts]]":
        """Wait for (pictures, counts). Raises CudaError.

        Pictures are uint8 (N, H*3/2, W), planes of Y, Cb, Cr, valid until the next but one download starts. Counts are
        the clipped samples of each picture, empty without a tone curve.
        """
        ...


class VideoDecoderSession(Protocol):
    """One hardware decoding session of one elementary stream."""

    def decode(self, packet: bytes, pts: int) -> Sequence[tuple[int, DeviceImage]]:
        """Annex B in, (pts, image) out in presentation order, copied out of the surfaces of the decoder."""
        ...

    def finish(self) -> Sequence[tuple[int, DeviceImage]]:
        """Flush: the remaining pictures."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """For one closed GOP of limited-range NV12. `quality` is 0 to 100; the colour tags are H.273 numbers.

    `effort` chooses the preset.
    """

    codec: VideoCodec
    width: int
    height: int
    fps: Fraction
    quality: int
    matrix: int
    primaries: int
    transfer: int
    effort: Effort = "balanced"


class EncodedPicture(NamedTuple):
    """The bytes of one picture; pictures are returned in the order of their input."""

    data: bytes
    is_key_frame: bool


class EncoderSession(Protocol):
    """One hardware encoding session."""

    def parameters(self) -> bytes:
        """Parameter sets (Annex B) or the AV1 sequence header, for the container."""
        ...

    def encode(self, picture: "DevicePicture | Bytes2D") -> Sequence[EncodedPicture]:
        """A device picture, or (H*3/2, W) NV12 in host memory."""
        ...

    def finish(self) -> Sequence[EncodedPicture]: ...

    def close(self) -> None: ...


class CudaDriver(Protocol):
    """One device, owned by this process. One thread decodes, transforms and starts downloads; another may meanwhile
    wait for downloads and encode."""

    device: str

    def facts(self) -> Mapping[str, str]:
        """Names and versions for the receipt: device, compute capability, libraries."""
        ...

    def memory(self) -> DeviceMemory: ...

    def set_memory_limit(self, fraction: float) -> None:
        """Limit this process to a fraction of the device memory; beyond it, calls raise CudaOutOfMemory."""
        ...

    def decode_jpegs(self, images: Sequence[bytes]) -> "Sequence[DeviceImage | str]":
        """Each image, or the reason why the device cannot decode it; a bad image does not affect the others."""
        ...

    def upload(self, samples: Sequence[Samples]) -> Sequence[DeviceImage]:
        """Upload (H, W) or (H, W, 3) of uint8, uint16 or float32, all of one shape and type, through pinned memory."""
        ...

    def transform(self, images: Sequence[DeviceImage], spec: TransformSpec) -> Sequence[DevicePicture]:
        """Transform images of one size and kind in one launch: every `spec.bin_size` images become one picture."""
        ...

    def download(self, pictures: Sequence[DevicePicture]) -> Transfer:
        """Download the pictures of one `transform` call into one of two pinned blocks."""
        ...

    def open_decoder(self, codec: VideoCodec) -> VideoDecoderSession: ...

    def open_encoder(self, settings: EncoderSettings) -> EncoderSession: ...

    def synchronise(self) -> None:
        """Wait for all queued work; for canaries and benchmarks, never called by the pipeline."""
        ...

    def close(self) -> None: ...


def load_driver(device: str, driver_module: str = REAL_DRIVER) -> CudaDriver:
    """Open a device such as "cuda:0" with the `open_driver(device)` of this module.

    Raises CudaUnavailable for any error: with a driver of the wrong version, importing PyNvVideoCodec or torchvision
    raises RuntimeError or OSError.
    """
    try:
        driver: CudaDriver = importlib.import_module(driver_module).open_driver(device)
    except CudaUnavailable:
        raise
    except Exception as error:
        raise CudaUnavailable(f"{device}: {first_line(error)}") from error
    return driver
