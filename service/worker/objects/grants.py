"""What the codec process of a slot may read and write for the command that it executes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.plan.render_plan import ObjectRef
from service.store.objects.digests import transient_key
from service.store.objects.keys import segment_prefix

# A command reaches the codec process a moment before its grant may reach the object process.
GRANT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Grant:
    """Objects to `read` one by one, and beginnings of keys by bucket: `read_below`, which may be listed, and
    `write_below`. `content_key` is that of the segment that is written, if it is one."""

    read: frozenset[ObjectRef] = frozenset()
    read_below: frozenset[ObjectRef] = frozenset()
    write_below: frozenset[ObjectRef] = frozenset()
    content_key: str | None = None

    def may_read(self, ref: ObjectRef) -> bool:
        return ref in self.read or _is_below(ref, self.read_below)

    def may_write(self, ref: ObjectRef) -> bool:
        return _is_below(ref, self.write_below)


NOTHING = Grant()


def _is_below(ref: ObjectRef, prefixes: frozenset[ObjectRef]) -> bool:
    """Of a render's segments there are thousands: their prefixes, up to the dot, are looked up."""
    if ObjectRef(ref.bucket, ref.key[: ref.key.rfind(".") + 1]) in prefixes:
        return True
    return any(ref.bucket == prefix.bucket and ref.key.startswith(prefix.key) for prefix in prefixes)


@dataclass
class Permissions:
    """The grant of the present command. It is set by one thread, and asked by another."""

    _grant: Grant = NOTHING
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def set(self, grant: Grant) -> None:
        with self._changed:
            self._grant = grant
            self._changed.notify_all()

    def may_read(self, ref: ObjectRef) -> bool:
        return self._wait(lambda: self._grant.may_read(ref))

    def may_list(self, ref: ObjectRef) -> bool:
        return self._wait(lambda: ref in self._grant.read_below)

    def may_write(self, ref: ObjectRef) -> bool:
        return self._wait(lambda: self._grant.may_write(ref))

    def add_transient(self, digests: Mapping[str, str], bucket: str) -> None:
        """The segment of the command may also be written as one that another attempt may find different."""
        with self._changed:
            if self._grant.content_key is not None:
                prefix = ObjectRef(bucket, segment_prefix(transient_key(self._grant.content_key, digests)))
                below = self._grant.write_below | {prefix}
                self._grant = Grant(self._grant.read, self._grant.read_below, below, self._grant.content_key)

    def _wait(self, is_allowed: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(is_allowed, GRANT_TIMEOUT_S)
