"""Decodes the selected frames of source videos on the device, in plan order, as input for the batches."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import av

from service.pipeline.colour import ColourTags
from service.pipeline.composites.bins import member_options
from service.pipeline.cuda.demux import VideoDemuxer, VideoProperties
from service.pipeline.cuda.device_frame import DeviceFrame
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.eligibility import Candidate
from service.pipeline.cuda.errors import CudaError, CudaUnsupported, DeviceLost
from service.pipeline.cuda.geometry import SourceGeometry, TransformPlan, plan_bin_transform, plan_transform
from service.pipeline.frames import (
    Fallback,
    FrameMissing,
    FrameUnavailable,
    MediaUnreadable,
    SizeMismatch,
    SourceReader,
    media_faults,
)
from service.plan.render_plan import FrameRef, RenderOptions

_INTERLACED = Fallback("decode", "unsupported", "interlaced pictures are deinterlaced on the CPU")
_NOT_DECODED = Fallback("decode", "not_decoded", "no such picture came out of the device")


class VideoFrameSource:
    """Runs of frames of one source with ascending timestamps share a decoder; a run that fails goes to the CPU."""

    def __init__(self, driver: CudaDriver, sources: SourceReader, options: RenderOptions, colour: ColourTags) -> None:
        self._driver, self._sources, self._options, self._colour = driver, sources, options, colour

    def frames(self, refs: Sequence[FrameRef]) -> "Generator[DeviceFrame, None, None]":
        """Each ref once, in order. Raises DeviceLost, and errors of `sources` that are not about one frame."""
        for run in split_into_runs(refs):
            remaining = deque(run)
            try:
                yield from self._decode_run(remaining)
            except DeviceLost:
                raise
            except CudaError as error:
                fallback = Fallback("decode", error.fallback_code, error.reason)
                yield from (DeviceFrame(ref, fallback=fallback) for ref in remaining)
            except (FrameUnavailable, MediaUnreadable, SizeMismatch, av.FFmpegError):
                # The stages on the CPU find the same fault and report it.
                yield from (DeviceFrame(ref) for ref in remaining)

    def _decode_run(self, remaining: deque[FrameRef]) -> Iterator[DeviceFrame]:
        """Removes each frame from `remaining` before it is yielded."""
        if remaining[0].key is None or remaining[0].pts is None:
            raise FrameMissing
        if self._options.deinterlaces(remaining[0]):
            yield from (DeviceFrame(ref, fallback=_INTERLACED) for ref in remaining)
            return
        if remaining[0].packet is not None:
            raise CudaUnsupported("its timestamps do not tell its pictures apart")
        with media_faults("opened"):
            demuxer = VideoDemuxer(self._sources.open(remaining[0]), self._colour)

        def next_pts() -> int:
            return remaining[0].pts or 0 if remaining else 2**62

        try:
            candidate = self._plan_candidate(demuxer.properties)
            fallback = candidate if isinstance(candidate, Fallback) else _NOT_DECODED
            if isinstance(candidate, Candidate):
                for pts, image in demuxer.decode(self._driver, next_pts):
                    while remaining and next_pts() < pts:
                        yield DeviceFrame(remaining.popleft(), fallback=_NOT_DECODED)
                    while remaining and remaining[0].pts == pts:
                        yield DeviceFrame(remaining.popleft(), candidate=candidate, image=image)
                    if not remaining:
                        return
            while remaining:
                yield DeviceFrame(remaining.popleft(), fallback=fallback)
        finally:
            demuxer.close()

    def _plan_candidate(self, properties: VideoProperties) -> Candidate | Fallback:
        """Raises SizeMismatch, CudaUnsupported."""
        width, height = properties.size
        if width * height > self._options.max_pixels:
            raise CudaUnsupported("it is over the limit of pixels")
        source = SourceGeometry(properties.size, properties.orientation)
        plan = plan_transform(member_options(self._options), source)
        if isinstance(plan, Fallback):
            return Fallback("decode", plan.code, plan.reason)
        if any(side % 2 for side in (width, height, *(plan.spec.crop or ()))):
            raise CudaUnsupported("odd crops of 4:2:0 frames run on the CPU")
        bin_plan = plan_bin_transform(self._options, source)
        return Candidate(
            properties.size,
            channels=3,
            transform=_with_colour_range(plan, properties),
            decoder=f"cuda-nvdec-{properties.codec}",
            bin_transform=_with_colour_range(bin_plan, properties) if bin_plan else None,
        )


def split_into_runs(refs: Iterable[FrameRef]) -> list[list[FrameRef]]:
    """Split into consecutive frames of one source whose timestamps do not fall."""
    listed = list(refs)
    runs = [listed[:1]] if listed else []
    for before, ref in pairwise(listed):
        if ref.key != before.key or ref.pts is None or before.pts is None or ref.pts < before.pts:
            runs.append([])
        runs[-1].append(ref)
    return runs


def _with_colour_range(plan: TransformPlan, properties: VideoProperties) -> TransformPlan:
    return replace(plan, spec=replace(plan.spec, full_range=properties.full_range))
