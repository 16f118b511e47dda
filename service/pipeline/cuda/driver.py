"""The interface between the pipeline and a GPU: everything that only a real device can do.

Calls queue work on the device's streams and return; only `decode_jpegs` (inside torchvision), `Transfer.wait` and
`synchronise` block. Every call may raise a CudaError; DeviceLost means that the process has to end."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from service.errors import first_line
from service.pipeline.cuda.errors import CudaUnavailable
from service.pipeline.frames import DevicePicture
from service.plan.placement import REAL_DRIVER

Samples = np.ndarray[Any, Any]
Bytes2D = np.ndarray[Any, np.dtype[np.uint8]]
VideoCodec = Literal["h264", "hevc", "av1"]


class DeviceMemory(NamedTuple):
    """Bytes of the whole device, whoever uses them."""

    free: int
    total: int


class DeviceImage(Protocol):
    """A decoded picture in device memory, before it is turned or scaled; sizes in pixels."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def kind(self) -> Literal["rgb", "gray", "nv12"]:
        """8-bit R'G'B' or, with `upload`, samples of any depth; one plane of them; 8-bit 4:2:0 of a video."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class ToneCurve:
    """Sample -> level: `low` and `high` become 0 and 1, then `** gamma`, then `table` (256, 3) of uint8 R'G'B' for gray
    samples (None for R'G'B'). One for a segment: it is itself only."""

    low: float
    high: float
    gamma: float
    table: "Bytes2D | None"


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """From an image as stored to a picture: crop (left, top, right, bottom), turn clockwise, scale down, place.

    `size` (width, height) is put at `place` (left, top; both even) on a black `canvas` (width, height; both even). An
    odd `size` gains a replicated edge. `full_range` says that an nv12 image is; pictures are always limited range.
    `members` images in a row become one picture, their mean or, `over` them, the brightest; the last may have fewer.
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
    """Pictures on their way to host memory."""

    def wait(self) -> "tuple[Bytes2D, list[tuple[int, int, int]]]":
        """(N, H*3/2, W) uint8: planes of Y, Cb, Cr, valid until the transfer after the next begins; and of each toned
        picture the samples below the window, above it and not a number (empty without tones). Raises a CudaFault."""
        ...


class VideoDecoderSession(Protocol):
    """One hardware decoding session of one elementary stream."""

    def decode(self, packet: bytes, pts: int) -> Sequence[tuple[int, DeviceImage]]:
        """Annex B in, (pts, image) out in order of presentation, copied out of the decoder's own surfaces."""
        ...

    def finish(self) -> Sequence[tuple[int, DeviceImage]]:
        """The pictures that are still inside."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """A closed GOP of limited-range NV12 pictures; `quality` 0 to 100, colour tags as H.273 numbers."""

    codec: VideoCodec
    width: int
    height: int
    fps: Fraction
    quality: int
    # Matrix, primaries, transfer.
    colour: tuple[int, int, int]


class EncodedPicture(NamedTuple):
    """One picture's bytes; pictures come out in the order they went in, without reordering."""

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
    """One device, owned by this process. One thread decodes, shapes and begins downloads; another may meanwhile wait
    for them, and encode what was shaped."""

    device: str

    def facts(self) -> Mapping[str, str]:
        """Names and versions: device, capability, libraries."""
        ...

    def memory(self) -> DeviceMemory: ...

    def set_memory_limit(self, fraction: float) -> None:
        """Of the device's memory, the part that this process may take; more is out of memory."""
        ...

    def decode_jpegs(self, images: Sequence[bytes]) -> "Sequence[DeviceImage | str]":
        """Each image, or the reason it could not be decoded on the device; one bad image costs no other."""
        ...

    def upload(self, samples: Sequence[Samples]) -> Sequence[DeviceImage]:
        """(H, W) or (H, W, 3) of uint8, uint16 or float32, through pinned memory."""
        ...

    def transform(self, images: Sequence[DeviceImage], spec: TransformSpec) -> Sequence[DevicePicture]:
        """Images of one size and kind -> pictures, in one launch: one of each `shaping.members` of them."""
        ...

    def download(self, pictures: Sequence[DevicePicture]) -> Transfer:
        """Pictures of one `shape` call, into pinned memory of which there are two blocks."""
        ...

    def open_decoder(self, codec: VideoCodec, width: int, height: int) -> VideoDecoderSession: ...

    def open_encoder(self, settings: EncoderSettings) -> EncoderSession: ...

    def synchronise(self) -> None:
        """Wait for all that was queued. For canaries and benchmarks; the pipeline never does."""
        ...

    def close(self) -> None: ...


def load_driver(device: str, driver_module: str = REAL_DRIVER) -> CudaDriver:
    """The driver of "cuda:0"…; `module` has an `open_driver(device)`. Raises CudaUnavailable, whatever is in the way:
    PyNvVideoCodec and torchvision raise RuntimeError and OSError when they are imported beside the wrong driver."""
    try:
        opened: CudaDriver = importlib.import_module(driver_module).open_driver(device)
    except CudaUnavailable:
        raise
    except Exception as error:
        raise CudaUnavailable(f"{device}: {first_line(error)}") from error
    return opened
