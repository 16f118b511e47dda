"""What a process keeps between pieces of work: sources, decoded pictures, the device."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from av import VideoFrame

from benchmarks.devices import pictures
from benchmarks.devices.request import Case, Size
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.slot_device import DeviceChoice, SlotDevice
from service.pipeline.decode import ImageDecoder, picture_of
from service.pipeline.picture import Picture
from service.pipeline.transform import Transform

MAX_PIXELS = 100_000_000
KEPT = 8
"""Decoded pictures that are gone through again and again: more than a cache holds."""


@dataclass(frozen=True, slots=True)
class Setup:
    """`sources` are JPEGs by size; travels to the process by pickle."""

    sources: Mapping[Size, tuple[bytes, ...]]
    device: DeviceChoice


class Bench:
    """Nothing of it is made before it is asked for; CUDA least of all."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.decoder = ImageDecoder(MAX_PIXELS)
        self.slot = SlotDevice(setup.device)
        self.kept: dict[Any, Any] = {}

    def driver(self) -> CudaDriver:
        """Raises CudaUnavailable."""
        return self.slot.driver()

    def jpegs(self, size: Size, count: int) -> list[bytes]:
        sources = self._setup.sources[size]
        return [sources[number % len(sources)] for number in range(count)]

    @functools.cached_property
    def _decoded(self) -> dict[Size, list[Picture]]:
        return {}

    def decoded(self, size: Size) -> list[Picture]:
        """As the CPU's decoder gives them."""
        if size not in self._decoded:
            self._decoded[size] = [self.decoder.decode(data) for data in self.jpegs(size, KEPT)]
        return self._decoded[size]

    def shown(self, case: Case, count: int = KEPT) -> list[VideoFrame]:
        """yuv420p of the case's size, by the CPU."""
        transform = Transform(case.options(), IMAGE_COLOUR)
        return [transform.apply(picture)[0] for picture in self.decoded(case.source)[:count]]

    def deep(self, size: Size) -> list[Picture]:
        """16-bit gray."""
        key = ("deep", size)
        if key not in self.kept:
            self.kept[key] = [picture_of(one, None, "numpy", 1) for one in pictures.deep(size, KEPT)]
        found: list[Picture] = self.kept[key]
        return found
