"""Pictures of source videos as they are shown: those of interlaced ones deinterlaced, or with their fields kept."""

from collections.abc import Callable
from dataclasses import replace

from av import VideoFrame

from service.pipeline.frames import MediaUnreadable
from service.pipeline.picture import Picture
from service.pipeline.videos.deinterlacer import Deinterlacer
from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import INTERLACED, Deinterlace, FieldOrder, FrameRef

_ORDERS: dict[FieldOrder, str] = {
    "top": "top field first",
    "bottom": "bottom field first",
    "mixed": "field order as flagged",
}
_ASSUMED_ORDER = "field order as flagged, else top field first"
# A picture, the one before and the one after: consecutive pictures are decoded once.
_REMEMBERED = 3


class PictureReader:
    """Reads pictures of one source. `keeps_fields` says whether the output has room for a picture's fields as they are;
    then only `on` deinterlaces it."""

    def __init__(self, source: VideoSource, mode: Deinterlace, keeps_fields: Callable[[Picture], bool] | None) -> None:
        self.source = source
        self._mode, self._keeps_fields = mode, keeps_fields
        self._deinterlacer = Deinterlacer()
        self._recent: dict[tuple[int, int | None], Picture | MediaUnreadable] = {}

    def picture(self, ref: FrameRef, pts: int) -> Picture:
        """The picture of `ref`, at `pts`. A function of the stored pictures at it and beside it, whatever was read
        before. Raises MediaUnreadable."""
        interlaced = ref.field_order in INTERLACED
        if not interlaced and self._mode != "on":
            return self.source.picture(pts, ref.packet)
        if self._mode != "on" and (self._mode == "off" or self._keeps_fields):
            picture = self._decode(pts, ref.packet)
            if self._keeps_fields and self._keeps_fields(picture):
                return _with_note(picture, f"fields kept as stored ({_order(ref)})", ref.field_order)
            if self._mode == "off":
                return _with_note(picture, f"fields left as stored, not deinterlaced ({_order(ref)})")
        return self._deinterlaced(ref, pts)

    def _deinterlaced(self, ref: FrameRef, pts: int) -> Picture:
        """The neighbour before is decoded first, because decoding runs forward."""
        before, without_before = self._neighbour(ref.pts_before, ref.packet_before)
        picture = self._decode(pts, ref.packet)
        if self._mode == "auto" and ref.field_order == "mixed" and not picture.frame.interlaced_frame:
            return picture
        after, without_after = self._neighbour(ref.pts_after, ref.packet_after)
        frame = self._deinterlacer.deinterlace(picture.frame, before, after, ref.field_order)
        missing = [side for side, damaged in (("before", without_before), ("after", without_after)) if damaged]
        note = f"; without the picture {' and the one '.join(missing)}, which is damaged" if missing else ""
        return _with_note(replace(picture, frame=frame), f"deinterlaced (bwdif, {_order(ref)}{note})")

    def _neighbour(self, pts: int | None, packet: int | None) -> tuple[VideoFrame | None, bool]:
        """(The picture beside another, or None; whether there should be one that cannot be decoded)."""
        if pts is None:
            return None, False
        try:
            return self._decode(pts, packet).frame, False
        except MediaUnreadable:
            return None, True

    def _decode(self, pts: int, packet: int | None) -> Picture:
        found = self._recent.get((pts, packet))
        if found is None:
            try:
                found = self.source.picture(pts, packet)
            except MediaUnreadable as error:
                found = error
            self._recent[pts, packet] = found
            if len(self._recent) > _REMEMBERED:
                del self._recent[next(iter(self._recent))]
        if isinstance(found, MediaUnreadable):
            raise found
        return found

    def close(self) -> None:
        self._recent.clear()
        self.source.close()


def _order(ref: FrameRef) -> str:
    return _ORDERS[ref.field_order] if ref.field_order in INTERLACED else _ASSUMED_ORDER


def _with_note(picture: Picture, note: str, field_order: FieldOrder | None = None) -> Picture:
    return replace(picture, conversions=(*picture.conversions, note), field_order=field_order)
