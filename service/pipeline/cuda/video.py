"""The wanted pictures of source videos through a device, in plan order, for the same batches as images."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import av

from service.pipeline.bins import member_options
from service.pipeline.colour import Colour
from service.pipeline.cuda.candidate import Candidate
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.faults import CudaFault, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.made import Made
from service.pipeline.cuda.placing import Shaped, Stored, shaped, shaped_bin
from service.pipeline.cuda.video_stream import VideoFacts, VideoStream
from service.pipeline.frames import Fallback, FallbackCode, FrameMissing, SourceReader, Unreadable
from service.pipeline.geometry import SizeRefused
from service.plan.render_plan import FrameRef, RenderOptions


class VideoPictures:
    """Runs of rising times in one source share a decoding session; a run that a device cannot make is the CPU's."""

    def __init__(self, driver: CudaDriver, sources: SourceReader, options: RenderOptions, colour: Colour) -> None:
        self._driver, self._sources, self._options, self._colour = driver, sources, options, colour

    def of(self, refs: Sequence[FrameRef]) -> "Generator[Made, None, None]":
        """Each ref once, in order. Raises DeviceLost, and what `sources` raises beyond missing and unreadable."""
        for run in runs(refs):
            left = deque(run)
            try:
                yield from self._run(left)
            except DeviceLost:
                raise
            except CudaFault as fault:
                yield from (_given_up(ref, _code(fault), fault.reason) for ref in left)
            except (FrameMissing, Unreadable, SizeRefused, av.FFmpegError):
                yield from (Made(ref) for ref in left)  # the CPU's stages come to the same end and tell it

    def _run(self, left: deque[FrameRef]) -> Iterator[Made]:
        """Takes from `left` what it yields."""
        if left[0].key is None or left[0].pts is None:
            raise FrameMissing
        stream = VideoStream(self._sources.open(left[0]), self._colour)
        try:
            candidate = self._candidate(stream.facts)
            if isinstance(candidate, Fallback):
                yield from (_given_up(left.popleft(), candidate.code, candidate.reason) for _ in range(len(left)))
                return
            for pts, image in stream.pictures(self._driver, lambda: _next(left)):
                while left and (left[0].pts or 0) < pts:
                    yield _given_up(left.popleft(), "not_decoded", "no such picture came out of the device")
                while left and left[0].pts == pts:
                    yield Made(left.popleft(), candidate=candidate, image=image)
                if not left:
                    return
            yield from (
                _given_up(left.popleft(), "not_decoded", "no such picture came out of the device")
                for _ in range(len(left))
            )
        finally:
            stream.close()

    def _candidate(self, facts: VideoFacts) -> Candidate | Fallback:
        """Raises SizeRefused and CudaUnsupported."""
        place = _placed(member_options(self._options), facts)
        if isinstance(place, Fallback):
            return place
        whole = shaped_bin(self._options, Stored(facts.size, facts.orientation))
        if whole is not None:
            whole = _ranged(whole, facts)
        return Candidate(facts.size, 3, place, f"cuda-nvdec-{facts.codec}", bin=whole)


def _next(left: deque[FrameRef]) -> int:
    """When the next wanted picture is shown."""
    return left[0].pts or 0 if left else 2**62


def runs(refs: Iterable[FrameRef]) -> list[list[FrameRef]]:
    """Consecutive pictures of one source whose times do not fall."""
    listed = list(refs)
    found = [listed[:1]] if listed else []
    for before, ref in pairwise(listed):
        if ref.key != before.key or ref.pts is None or before.pts is None or ref.pts < before.pts:
            found.append([])
        found[-1].append(ref)
    return found


def _placed(options: RenderOptions, facts: VideoFacts) -> Shaped | Fallback:
    """Raises SizeRefused and CudaUnsupported."""
    width, height = facts.size
    if width * height > options.max_pixels:
        raise CudaUnsupported("it is over the limit of pixels")
    place = shaped(options, facts.size, facts.orientation)
    if isinstance(place, Fallback):
        return place
    if any(side % 2 for side in (width, height, *(place.shaping.crop or ()))):
        raise CudaUnsupported("odd sizes of 4:2:0 pictures are cut by the CPU")
    return _ranged(place, facts)


def _ranged(place: Shaped, facts: VideoFacts) -> Shaped:
    return replace(place, shaping=replace(place.shaping, full_range=facts.full_range))


def _code(fault: CudaFault) -> FallbackCode:
    if isinstance(fault, CudaOutOfMemory):
        return "out_of_memory"
    return "unsupported" if isinstance(fault, CudaUnsupported) else "device_failed"


def _given_up(ref: FrameRef, code: FallbackCode, reason: str) -> Made:
    return Made(ref, fallback=Fallback("decode", code, reason))
