"""What identifies a preview of a frame."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.plan.render_plan import FrameRef, SourceKind
from service.plan.tone import Tone

VERSION = "1"
"""Part of every key: raise it when the same frame would look otherwise."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A frame (its `etag` and `size` as the store tells them) at a width in pixels."""

    dataset: UUID
    kind: SourceKind
    bucket: str
    frame: FrameRef
    width: int
    max_pixels: int
    tone: Tone | None = None

    @property
    def digest(self) -> str:
        """sha256 (hex) over all that decides how it looks."""
        facts = "\0".join((VERSION, self.kind, self.bucket, self.frame.digest(), str(self.width), repr(self.tone)))
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def key(self) -> str:
        """Under its dataset, so that it goes with it."""
        return f"previews/{self.dataset}/{self.digest}.jpg"

    def to_json(self) -> dict[str, Any]:
        facts = dataclasses.asdict(self) | {"dataset": str(self.dataset)}
        return facts | {"frame": list(dataclasses.astuple(self.frame)), "key": self.key}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Preview":
        fields = {name: document[name] for name in ("kind", "bucket", "width", "max_pixels")}
        fields["tone"] = Tone(**document["tone"]) if document["tone"] else None
        return cls(dataset=UUID(document["dataset"]), frame=FrameRef(*document["frame"]), **fields)
