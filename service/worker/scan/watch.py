"""Which object a scan works on, and which objects it leaves alone because they have ended slots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.pipeline.frames import MediaUnreadable


@dataclass(frozen=True, slots=True)
class ObjectWatch:
    """`begin` is called with the key of each object before its bytes are interpreted; `barred`: key -> why not."""

    begin: Callable[[str], None]
    barred: Mapping[str, str] = field(default_factory=dict)

    def enter(self, key: str) -> None:
        """Raises MediaUnreadable for a barred object."""
        if (reason := self.barred.get(key)) is not None:
            raise MediaUnreadable(reason)
        self.begin(key)
