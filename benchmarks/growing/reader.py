"""Somebody who asks for the newest video again and again, and keeps what he gets until it is checked."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import httpx

# Between two requests: what they cost on the same cores must not hide what a render costs.
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Version:
    """A video as its status tells of it."""

    number: int
    frames: int
    sha256: str


@dataclass
class Reader:
    """Answers of `/api/videos/latest/video`. One file of each distinct video is in `folder`, named by its SHA-256."""

    folder: Path
    pause_s: float = PAUSE_S
    # Digest of each whole answer, in order, and its ETag.
    answers: list[tuple[str, str]] = field(default_factory=list)
    # Answers that were not 200, or broke off, by what they were.
    failures: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def reading(self, client: httpx.Client, experiment: str) -> Iterator[None]:
        """Ask all the time, on a thread, until the end of the block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._read_until, args=(stop, client, experiment), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _read_until(self, stop: threading.Event, client: httpx.Client, experiment: str) -> None:
        while not stop.wait(self.pause_s):
            self.read(client, experiment)

    def read(self, client: httpx.Client, experiment: str) -> None:
        """Ask once."""
        try:
            answer = client.get("/api/videos/latest/video", params={"experiment_id": experiment})
        except httpx.HTTPError as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1
            return
        if answer.status_code != 200:
            self.failures[f"status {answer.status_code}: {answer.text[:200]}"] += 1
            return
        digest = hashlib.sha256(answer.content).hexdigest()
        self.answers.append((digest, answer.headers.get("ETag", "")))
        if not (path := self.folder / digest).exists():
            path.write_bytes(answer.content)

    def faults(self, versions: list[Version]) -> list[str]:
        """What was no whole video of one of the versions, or was older than what had been answered before."""
        faults = [f"{count} answers: {what}" for what, count in self.failures.items()]
        known = {version.sha256: version for version in versions}
        shown = 0
        for digest, etag in dict.fromkeys(self.answers):
            version = known.get(digest)
            if version is None:
                faults.append(f"a file of {(self.folder / digest).stat().st_size} bytes is no version")
            elif etag != f'"{digest}"':
                faults.append(f"version {version.number} was sent with the ETag {etag}")
            elif (frames := count_frames(self.folder / digest)) != version.frames:
                faults.append(f"version {version.number} has {version.frames} frames, and {frames} were decoded")
        for digest, _ in self.answers:
            if digest in known and known[digest].number < shown:
                faults.append(f"version {known[digest].number} came after version {shown}")
            shown = max(shown, known[digest].number if digest in known else 0)
        return list(dict.fromkeys(faults))


def count_frames(video: Path) -> int:
    """Pictures that can be decoded; -1 if the file is damaged."""
    try:
        with av.open(str(video)) as container:
            return sum(1 for _ in container.decode(video=0))
    except av.FFmpegError:
        return -1
