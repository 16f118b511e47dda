"""What the codec process of a slot may read and write for the command that it executes."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.plan.render_plan import ObjectRef
from service.store.objects.digests import transient_key
from service.store.objects.keys import segment_prefix


@dataclass(frozen=True, slots=True)
class Grant:
    """Objects to `read` and `write` one by one, and beginnings of keys by bucket: `read_below`, which may be listed,
    and `write_below`. `content_key` is that of the segment that is written, if it is one."""

    read: frozenset[ObjectRef] = frozenset()
    write: frozenset[ObjectRef] = frozenset()
    read_below: frozenset[ObjectRef] = frozenset()
    write_below: frozenset[ObjectRef] = frozenset()
    content_key: str | None = None

    def may_read(self, ref: ObjectRef) -> bool:
        return ref in self.read or _is_below(ref, self.read_below)

    def may_list(self, prefix: ObjectRef) -> bool:
        return prefix in self.read_below

    def may_write(self, ref: ObjectRef) -> bool:
        return ref in self.write or _is_below(ref, self.write_below)


NOTHING = Grant()


def _is_below(ref: ObjectRef, prefixes: frozenset[ObjectRef]) -> bool:
    """Of a render's segments there are thousands: their prefixes, up to the dot, are looked up."""
    if ObjectRef(ref.bucket, ref.key[: ref.key.rfind(".") + 1]) in prefixes:
        return True
    return any(ref.bucket == prefix.bucket and ref.key.startswith(prefix.key) for prefix in prefixes)


class Permissions:
    """The grant of the present command. It is set by one thread, and asked by others."""

    def __init__(self, bucket: str) -> None:
        self.grant, self._bucket = NOTHING, bucket
        # The content key of a command, and where else its segment may be written.
        self._transient: tuple[str | None, frozenset[ObjectRef]] = None, frozenset()

    def may_write(self, ref: ObjectRef) -> bool:
        content_key, below = self._transient
        own = below if content_key == self.grant.content_key else frozenset()
        return self.grant.may_write(ref) or _is_below(ref, own)

    def add_transient(self, digests: Mapping[str, str]) -> None:
        """The segment of the command may also be written as one that another attempt may find different."""
        content_key = self.grant.content_key
        if content_key is not None:
            prefix = segment_prefix(transient_key(content_key, digests))
            self._transient = content_key, frozenset([ObjectRef(self._bucket, prefix)])
