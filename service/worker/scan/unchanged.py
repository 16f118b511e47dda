"""Scans an object so that what is noted of it, also its etag, is of the same bytes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectAccess, ObjectChanged, ObjectDamaged, ObjectInfo

T = TypeVar("T")
# An object that is written again and again is given up after so many probes.
MAX_PROBES = 3


STILL_WRITTEN = "it was written to during the scan: scan again when it is finished"
DAMAGED = "its bytes are not those of its ETag: upload it again, or repair the store, and scan again"


class ObjectUnreadable(Exception):
    """The object was written to during every probe, or the store sends other bytes. `info` is what was there last."""

    def __init__(self, info: ObjectInfo, reason: str) -> None:
        super().__init__(reason)
        self.info, self.reason = info, reason


async def scan_unchanged(
    objects: ObjectAccess, bucket: str, info: ObjectInfo, probe: Callable[[ObjectInfo], Awaitable[T]]
) -> T:
    """What `probe` finds in the object that was listed; if it was replaced meanwhile, in the one that is there now.

    `probe` reads under the etag of the info that it is given. Raises ObjectUnreadable, ObjectStoreError.
    """
    for _ in range(MAX_PROBES):
        try:
            return await probe(info)
        except ObjectChanged:
            info = await objects.head(ObjectRef(bucket, info.key))
        except ObjectDamaged as error:
            raise ObjectUnreadable(info, DAMAGED) from error
    raise ObjectUnreadable(info, STILL_WRITTEN)
