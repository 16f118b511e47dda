"""Which frames go through the device together: runs of frames that are alike, or whole bins of such frames."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from service.pipeline.cuda.batch_size import batch_size
from service.pipeline.cuda.candidate import Candidate, Candidates
from service.pipeline.cuda.made import Made
from service.pipeline.frames import Fallback
from service.plan.capability import DEVICE_BATCH, PINNED_BYTES

_READERS = 2
"""Threads that decode what is not decoded on the device: 16-bit TIFF."""
_NOT_WHOLE = "its bin is not one that the device makes"

Frames = Generator[Made, None, None]
"""Source frames in order; closed at the end."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames in order; those of the CPU are among them. With `members` above 1, all of them are the device's, and each
    so many make one picture; the last of a render may have fewer."""

    frames: list[Made]
    members: int = 1

    def chosen(self) -> list[Made]:
        """The device's."""
        return [made for made in self.frames if made.candidate]

    def shown(self) -> list[Made]:
        """Those of them that a picture comes back for: of a bin the first."""
        return self.chosen()[:: self.members]


class Gatherer:
    """Gives every frame once, in order. `most` frames at a time go through the device."""

    def __init__(self, candidates: Candidates, frames: Frames, budget: int) -> None:
        self._candidates, self._frames, self._budget = candidates, frames, budget
        self._members, self.most = candidates.members, DEVICE_BATCH
        self._waiting: deque[Made] = deque()
        self._loose: deque[Made] = deque()
        self._readers = ThreadPoolExecutor(_READERS, "cuda-read")

    def batch(self) -> Batch:
        """The next frames; none at the end."""
        if self._members == 1:
            return Batch(self._alike(self._waiting))
        if not self._loose:
            if bins := self._whole_bins():
                return Batch(bins, self._members)
            self._loosen()
        return Batch(self._alike(self._loose))

    def put_back(self, batch: Batch) -> None:
        """To be gathered anew, now that `most` is less."""
        whole = batch.members == self._members
        (self._waiting if whole else self._loose).extendleft(reversed(batch.frames))

    def _alike(self, queue: deque[Made]) -> list[Made]:
        """The next frames up to the first that is not like those before it; frames of the CPU are like any. What was
        fetched waits here beyond the prefetch's own bound, so that it has one."""
        batch: list[Made] = []
        first: Candidate | None = None
        room = 1
        held = 0
        while len(batch) < DEVICE_BATCH and held < PINNED_BYTES and self._has_more(queue):
            candidate = queue[0].candidate
            if candidate and first is None:
                first, room = candidate, self._room(candidate)
            elif candidate and first and (candidate.alike != first.alike or not room):
                break
            room -= candidate is not None
            held += len(queue[0].data)
            batch.append(queue.popleft())
        return batch

    def _has_more(self, queue: deque[Made]) -> bool:
        return bool(queue) or (queue is self._waiting and self._read())

    def _whole_bins(self) -> list[Made]:
        """The next bins that the device can make, all alike; empty when it cannot make the next one."""
        taken: list[Made] = []
        first: Candidate | None = None
        room = held = 0
        while held < PINNED_BYTES and (lead := self._whole(bin_ := self._peek())):
            if first is None:
                first, room = lead, self._room(lead)
            if lead.alike != first.alike or len(bin_) > room:
                break
            room -= len(bin_)
            held += sum(len(made.data) for made in bin_)
            taken += [self._waiting.popleft() for _ in bin_]
        return taken

    def _loosen(self) -> None:
        """The frames of bins that the device cannot make as a whole, each for itself, or the CPU's."""
        while len(self._loose) < DEVICE_BATCH and (bin_ := self._peek()) and not self._whole(bin_):
            for made in bin_:
                if made.candidate and not made.candidate.alone:
                    made.give_up("transform", "unsupported", _NOT_WHOLE)
                self._loose.append(self._waiting.popleft())

    def _whole(self, bin_: list[Made]) -> Candidate | None:
        """What its frames are, if they are alike and the device can make one picture of them."""
        lead = bin_[0].candidate if bin_ else None
        if lead is None or lead.bin is None or len(bin_) > self._room(lead):
            return None
        return lead if all(made.candidate and made.candidate.alike == lead.alike for made in bin_) else None

    def _room(self, candidate: Candidate) -> int:
        return min(self.most, batch_size(candidate, self._budget))

    def _peek(self) -> list[Made]:
        """The next bin's frames."""
        while len(self._waiting) < self._members and self._read():
            pass
        return list(islice(self._waiting, self._members))

    def _read(self) -> bool:
        """A few are fetched and looked at together."""
        read = list(islice(self._frames, _READERS))
        self._waiting.extend(self._readers.map(self._recognised, read))
        return bool(read)

    def _recognised(self, made: Made) -> Made:
        if not made.data:  # not fetched, or a picture of a video
            return made
        found = self._candidates.of(made.data)
        if isinstance(found, Fallback):
            made.fallback = found
        else:
            made.candidate = found
        return made

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._frames.close()
