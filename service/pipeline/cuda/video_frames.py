"""Decodes the selected frames of source videos on the device, in plan order, as input for the batches."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import av

from service.pipeline.bins import member_options
from service.pipeline.colour import ColourTags
from service.pipeline.cuda.demux import VideoDemuxer, VideoProperties
from service.pipeline.cuda.device_frame import DeviceFrame
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.eligibility import Candidate
from service.pipeline.cuda.errors import CudaError, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.geometry import SourceGeometry, TransformPlan, plan_bin_transform, plan_transform
from service.pipeline.frames import Fallback, FallbackCode, FrameMissing, MediaUnreadable, SizeMismatch, SourceReader
from service.plan.render_plan import FrameRef, RenderOptions


class VideoFrameSource:
    """Runs of rising times in one source share a decoding session; a run that a device cannot make is the CPU's."""

    def __init__(self, driver: CudaDriver, sources: SourceReader, options: RenderOptions, colour: ColourTags) -> None:
        self._driver, self._sources, self._options, self._colour = driver, sources, options, colour

    def frames(self, refs: Sequence[FrameRef]) -> "Generator[DeviceFrame, None, None]":
        """Each ref once, in order. Raises DeviceLost, and what `sources` raises beyond missing and unreadable."""
        for run in split_into_runs(refs):
            left = deque(run)
            try:
                yield from self._decode_run(left)
            except DeviceLost:
                raise
            except CudaError as fault:
                yield from (_fallback_frame(ref, _fallback_code(fault), fault.reason) for ref in left)
            except (FrameMissing, MediaUnreadable, SizeMismatch, av.FFmpegError):
                yield from (DeviceFrame(ref) for ref in left)  # the CPU's stages come to the same end and tell it

    def _decode_run(self, remaining: deque[FrameRef]) -> Iterator[DeviceFrame]:
        """Takes from `left` what it yields."""
        if remaining[0].key is None or remaining[0].pts is None:
            raise FrameMissing
        stream = VideoDemuxer(self._sources.open(remaining[0]), self._colour)
        try:
            candidate = self._plan_candidate(stream.properties)
            if isinstance(candidate, Fallback):
                yield from (
                    _fallback_frame(remaining.popleft(), candidate.code, candidate.reason)
                    for _ in range(len(remaining))
                )
                return
            for pts, image in stream.decode(self._driver, lambda: _next_pts(remaining)):
                while remaining and (remaining[0].pts or 0) < pts:
                    yield _fallback_frame(remaining.popleft(), "not_decoded", "no such picture came out of the device")
                while remaining and remaining[0].pts == pts:
                    yield DeviceFrame(remaining.popleft(), candidate=candidate, image=image)
                if not remaining:
                    return
            yield from (
                _fallback_frame(remaining.popleft(), "not_decoded", "no such picture came out of the device")
                for _ in range(len(remaining))
            )
        finally:
            stream.close()

    def _plan_candidate(self, properties: VideoProperties) -> Candidate | Fallback:
        """Raises SizeRefused and CudaUnsupported."""
        place = _plan_video_transform(member_options(self._options), properties)
        if isinstance(place, Fallback):
            return place
        whole = plan_bin_transform(self._options, SourceGeometry(properties.size, properties.orientation))
        if whole is not None:
            whole = _with_colour_range(whole, properties)
        return Candidate(properties.size, 3, place, f"cuda-nvdec-{properties.codec}", bin_transform=whole)


def _next_pts(remaining: deque[FrameRef]) -> int:
    """When the next wanted picture is shown."""
    return remaining[0].pts or 0 if remaining else 2**62


def split_into_runs(refs: Iterable[FrameRef]) -> list[list[FrameRef]]:
    """Consecutive pictures of one source whose times do not fall."""
    listed = list(refs)
    found = [listed[:1]] if listed else []
    for before, ref in pairwise(listed):
        if ref.key != before.key or ref.pts is None or before.pts is None or ref.pts < before.pts:
            found.append([])
        found[-1].append(ref)
    return found


def _plan_video_transform(options: RenderOptions, properties: VideoProperties) -> TransformPlan | Fallback:
    """Raises SizeRefused and CudaUnsupported."""
    width, height = properties.size
    if width * height > options.max_pixels:
        raise CudaUnsupported("it is over the limit of pixels")
    place = plan_transform(options, properties.size, properties.orientation)
    if isinstance(place, Fallback):
        return place
    if any(side % 2 for side in (width, height, *(place.spec.crop or ()))):
        raise CudaUnsupported("odd sizes of 4:2:0 pictures are cut by the CPU")
    return _with_colour_range(place, properties)


def _with_colour_range(plan: TransformPlan, properties: VideoProperties) -> TransformPlan:
    return replace(plan, spec=replace(plan.spec, full_range=properties.full_range))


def _fallback_code(error: CudaError) -> FallbackCode:
    if isinstance(error, CudaOutOfMemory):
        return "out_of_memory"
    return "unsupported" if isinstance(error, CudaUnsupported) else "device_failed"


def _fallback_frame(ref: FrameRef, code: FallbackCode, reason: str) -> DeviceFrame:
    return DeviceFrame(ref, fallback=Fallback("decode", code, reason))
