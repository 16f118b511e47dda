"""What each command may read and write of the object store."""

from collections.abc import Iterable

from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.keys import render_prefix, segment_prefix
from service.worker.objects.grants import NOTHING, Grant
from service.worker.scan.store import ScanTarget
from service.worker.slots.messages import AssembleRender, Command, RenderPreview, RenderSegment, ScanDataset


def grant_for(command: Command, bucket: str) -> Grant:
    """`bucket` is the service's own. A scan knows its objects only when it has begun: see `grant_for_scan`."""
    match command:
        case RenderSegment():
            plan, below = command.plan, ObjectRef(bucket, segment_prefix(command.content_key))
            sources = _objects_of(plan.bucket, (*plan.frames, *plan.lead))
            return Grant(read=sources, write_below=frozenset([below]), content_key=command.content_key)
        case AssembleRender():
            segments = frozenset(ObjectRef(bucket, segment_prefix(each.content_key)) for each in command.segments)
            return Grant(
                read_below=segments, write_below=frozenset([ObjectRef(bucket, render_prefix(command.render_id))])
            )
        case RenderPreview(preview):
            own = frozenset([ObjectRef(bucket, preview.key)])
            return Grant(read=_objects_of(preview.bucket, [preview.frame]), write_below=own)
        case ScanDataset():
            return NOTHING


def grant_for_scan(target: ScanTarget) -> Grant:
    return Grant(read_below=frozenset([ObjectRef(target.bucket, target.prefix)]))


def _objects_of(bucket: str, frames: Iterable[FrameRef]) -> frozenset[ObjectRef]:
    return frozenset(ObjectRef(bucket, frame.key) for frame in frames if frame.key is not None)
