"""State that a worker process keeps between tasks: sources, decoded pictures, the device."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from av import VideoFrame

from benchmarks.devices.cases import Case, Size
from benchmarks.devices.tasks import pictures
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.images.decoder import ImageDecoder, to_picture
from service.pipeline.images.header import DecodeOptions
from service.pipeline.picture import Picture
from service.pipeline.transform.frame_transform import FrameTransform

MAX_PIXELS = 100_000_000
# Decoded pictures used in turn: more than a CPU cache holds.
CACHED_PICTURES = 8


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """`sources`: JPEGs by size. Sent to the worker process by pickle."""

    sources: Mapping[Size, tuple[bytes, ...]]
    device: DeviceConfig


class Workbench:
    """Created lazily, so that cold times include everything, above all CUDA."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self.decoder = ImageDecoder(DecodeOptions(MAX_PIXELS))
        self.slot = SlotDevice(setup.device)
        self.cache: dict[Any, Any] = {}

    def driver(self) -> CudaDriver:
        """Raises CudaUnavailable."""
        return self.slot.driver()

    def jpegs(self, size: Size, count: int) -> list[bytes]:
        sources = self._setup.sources[size]
        return [sources[number % len(sources)] for number in range(count)]

    @functools.cached_property
    def _pictures_by_size(self) -> dict[Size, list[Picture]]:
        return {}

    def decoded_pictures(self, size: Size) -> list[Picture]:
        """Pictures as decoded on the CPU."""
        if size not in self._pictures_by_size:
            self._pictures_by_size[size] = [self.decoder.decode(data) for data in self.jpegs(size, CACHED_PICTURES)]
        return self._pictures_by_size[size]

    def output_frames(self, case: Case, count: int = CACHED_PICTURES) -> list[VideoFrame]:
        """yuv420p frames of the case's size, transformed on the CPU."""
        transform = FrameTransform(case.options(), IMAGE_COLOUR)
        return [transform.apply(picture)[0] for picture in self.decoded_pictures(case.source)[:count]]

    def deep_pictures(self, size: Size) -> list[Picture]:
        """16-bit gray pictures."""
        key = ("deep", size)
        if key not in self.cache:
            self.cache[key] = [
                to_picture(one, None, "numpy", 1) for one in pictures.make_deep_pictures(size, CACHED_PICTURES)
            ]
        found: list[Picture] = self.cache[key]
        return found
