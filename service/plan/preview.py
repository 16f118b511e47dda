"""The preview of a frame: what identifies it, and its object key."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.plan.render_plan import FrameRef, SourceKind
from service.plan.tone import Tone

# Part of every key: raise it when the same frame would look different.
VERSION = "2"


@dataclass(frozen=True, slots=True)
class Preview:
    """A frame (`etag` and `size` as the object store has them now) at a width in pixels."""

    dataset: UUID
    kind: SourceKind
    bucket: str
    frame: FrameRef
    width: int
    max_pixels: int
    tone: Tone | None = None

    @property
    def digest(self) -> str:
        """sha256 (hex) over everything that its picture depends on."""
        facts = "\0".join((VERSION, self.kind, self.bucket, self.frame.digest(), str(self.width), repr(self.tone)))
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def key(self) -> str:
        """The object key, under its dataset: deleting the dataset deletes it."""
        return f"previews/{self.dataset}/{self.digest}.jpg"

    def to_json(self) -> dict[str, Any]:
        facts = dataclasses.asdict(self) | {"dataset": str(self.dataset)}
        return facts | {"frame": list(dataclasses.astuple(self.frame)), "key": self.key}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Preview":
        fields = {name: document[name] for name in ("kind", "bucket", "width", "max_pixels")}
        fields["tone"] = Tone(**document["tone"]) if document["tone"] else None
        return cls(dataset=UUID(document["dataset"]), frame=FrameRef(*document["frame"]), **fields)
