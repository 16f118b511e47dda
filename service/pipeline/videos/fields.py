"""Decides whether a source video is interlaced: by what its stream and pictures claim, and by a measure on a few."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence

from av import VideoFrame

from service.pipeline.field_order import order_of
from service.pipeline.frames import MediaUnreadable
from service.pipeline.videos.field_measure import Luma, Votes, count_votes, to_luma
from service.pipeline.videos.pictures import PictureList
from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import FieldOrder

# Pictures are examined at this many places of a source, so many consecutive ones at each.
_PLACES, _PICTURES = 3, 5
_MOST = 0.8
# Values of FFmpeg's AVFieldOrder: of a stream, what is shown first.
_UNKNOWN, _TOP_FIRST, _BOTTOM_FIRST = 0, (2, 4), (3, 5)
# Its decoder returns the fields of an interlaced stream as pictures of their own, which have no second field.
_FIELDS_ARE_PICTURES = ("hevc",)
# Decoders that flag each picture; of others only the stream says what its pictures are.
_FLAGGING = ("dvvideo", "ffv1", "h264", "mpeg1video", "mpeg2video", "mpeg4", "prores", "vc1")


def detect_field_order(source: VideoSource, pictures: PictureList) -> FieldOrder | None:
    """How the pictures of a source were captured; None if nothing moves and nothing is claimed.

    What is measured overrules what is claimed: many files are flagged wrongly, both ways. Where both orders or nothing
    are measured, the claims decide. Damaged pictures end the examination of their place.
    """
    claims, votes = Counter[FieldOrder](), list[Votes]()
    for group in _pictures_at_places(source, pictures):
        before: Luma | None = None
        for frame in group:
            claims[_claimed(frame, source)] += 1
            luma = to_luma(frame)
            if before is not None and before.shape == luma.shape:
                votes.append(count_votes(before, luma))
            before = luma
    context = source.stream.codec_context
    if context.name in _FIELDS_ARE_PICTURES:
        claims = Counter({"progressive": claims.total()})
    return _decide(claims, measured_order(votes), is_claimed=context.field_order != _UNKNOWN)


def _decide(claims: Counter[FieldOrder], measured: FieldOrder | None, *, is_claimed: bool) -> FieldOrder | None:
    if measured in ("progressive", "top", "bottom"):
        return measured
    interlaced: list[FieldOrder] = [order for order in claims if order != "progressive"]
    if interlaced:
        return interlaced[0] if len(claims) == 1 else "mixed"
    return "progressive" if is_claimed and claims else None


def measured_order(votes: Sequence[Votes]) -> FieldOrder | None:
    """What pairs of consecutive pictures show: what most show, of a telecined film the order of its interlaced
    pictures; `mixed` if there are pairs of both orders, None if too little moves."""
    found = Counter(verdict for pair in votes if (verdict := pair.verdict()))
    if not found:
        return functools.reduce(Votes.plus, votes, Votes(0, 0, 0)).verdict()
    if found.total() < min(2, len(votes)):
        return None
    name, count = found.most_common(1)[0]
    if count >= _MOST * found.total():
        return name
    orders = [order for order in found if order != "progressive" and found[order] >= 2]
    return orders[0] if len(orders) == 1 else "mixed"


def _pictures_at_places(source: VideoSource, pictures: PictureList) -> Iterator[Iterator[VideoFrame]]:
    """Consecutive pictures from the start on, and from the key pictures before the middle and the end."""
    pts, keys = pictures.pts, set(pictures.key_pts)
    packets = pictures.packets if pictures.packets is not None else [None] * len(pts)
    starts = {0}
    for place in range(1, _PLACES):
        latest = max(0, len(pts) * place // (_PLACES - 1) - _PICTURES)
        starts.add(next((index for index in range(latest, 0, -1) if pts[index] in keys), 0))
    for start in sorted(starts):
        yield _consecutive(source, list(zip(pts, packets, strict=True))[start : start + _PICTURES])


def _consecutive(source: VideoSource, places: Sequence[tuple[int, int | None]]) -> Iterator[VideoFrame]:
    for pts, packet in places:
        try:
            yield source.picture(pts, packet).frame
        except MediaUnreadable:
            return


def _claimed(frame: VideoFrame, source: VideoSource) -> FieldOrder:
    """What the picture's own flags say, else its stream."""
    if frame.interlaced_frame:
        return order_of(frame)
    context = source.stream.codec_context
    if context.name not in _FLAGGING and context.field_order in (*_TOP_FIRST, *_BOTTOM_FIRST):
        return "top" if context.field_order in _TOP_FIRST else "bottom"
    return "progressive"
