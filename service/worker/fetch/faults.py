"""What the store's answers mean for a frame: missing, changed since the scan, or unreadable."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.pipeline.frames import FrameChanged, FrameDamaged, FrameMissing, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.object_store import (
    ObjectChanged,
    ObjectDamaged,
    ObjectNotFound,
    ObjectTooLarge,
    ObjectVersion,
)

log = structlog.get_logger("worker")


@contextmanager
def frame_faults(key: str | None) -> Iterator[None]:
    """Raise FrameMissing, FrameChanged or FrameUnreadable for errors of the store that are about this one object."""
    try:
        yield
    except ObjectNotFound as error:
        raise FrameMissing from error
    except ObjectChanged as error:
        log.warning("frame changed since the scan", key=key, difference=str(error))
        raise FrameChanged(str(error)) from error
    except ObjectDamaged as error:
        raise FrameDamaged(str(error)) from error
    except ObjectTooLarge as error:
        raise FrameUnreadable(str(error)) from error


def planned_version(bucket: str, ref: FrameRef) -> ObjectVersion:
    """The object as the scan found it. Raises FrameMissing for a gap in the numbering."""
    if ref.key is None:
        raise FrameMissing("gap in the numbering")
    return ObjectVersion(ObjectRef(bucket, ref.key), ref.etag, ref.size)
