"""Lists the pictures of a source video in presentation order, and tells how each of them is found again."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
from av import Packet
from av.video.stream import VideoStream

from service.pipeline.frames import MediaUnreadable
from service.pipeline.videos.counted import BARE_FORMATS, Numbering
from service.pipeline.videos.diagnosis import ENCRYPTED, describe_error
from service.pipeline.videos.source import VideoSource

# Pictures that are decoded to see whether they come out with the timestamps of the packets, in their order.
COMPARED_PICTURES = 32
# A packet of these holds a whole picture, whose timestamp is in the file.
_WHOLE_PICTURES = ("mov,mp4,m4a,3gp,3g2,mj2",)
# These split a stream of bytes into packets: the two fields of a picture may be two packets.
_SPLIT_PACKETS = ("mpegts", "mpeg", "avi")
_LOWEST = -(2**62)


@dataclass(frozen=True, slots=True)
class PictureList:
    """The pictures of a source, in presentation order.

    `pts` are their timestamps in the stream's time base, ascending. Where timestamps do not tell all pictures apart,
    `pts` counts the pictures from 0, and `packets` has the number of the packet that holds each.
    """

    pts: Sequence[int]
    key_pts: Sequence[int]
    packets: Sequence[int] | None = None


@dataclass(slots=True)
class _PacketSurvey:
    """What the packets say, without decoding: timestamps, and whether they and the byte offsets are in order."""

    pts: list[int]
    keys: list[int]
    begins_with_key: bool = False
    is_regular: bool = True
    offsets_rise: bool = True
    _last_dts: int = _LOWEST
    _last_pos: int = -1
    count: int = 0

    def add(self, packet: "Packet[VideoStream]") -> None:
        self.begins_with_key |= not self.count and bool(packet.is_keyframe)
        self.count += 1
        if packet.pos is not None:
            self.offsets_rise &= packet.pos >= self._last_pos
            self._last_pos = packet.pos
        if packet.is_discard:
            return
        if packet.dts is not None:
            self.is_regular &= packet.dts >= self._last_dts
            self._last_dts = packet.dts
        if packet.pts is None:
            self.is_regular = False
            return
        self.pts.append(packet.pts)
        if packet.is_keyframe:
            self.keys.append(packet.pts)


def list_pictures(source: VideoSource) -> PictureList:
    """Reads all packets, and decodes a few pictures, or all where only that tells them apart. Raises MediaUnreadable.

    Undecodable pictures before the first one that can be decoded, as in a recording that begins within a group of
    pictures, are not counted.
    """
    try:
        survey = _survey_packets(source)
        if not survey.count:
            raise MediaUnreadable(source.missing_pictures_reason())
        times = _distinct_times(source, survey)
        if times is not None:
            return PictureList(times, [pts for pts in sorted(survey.keys) if pts >= times[0]])
        return _count_pictures(source, "offset" if survey.offsets_rise else "count")
    except av.FFmpegError as error:
        raise MediaUnreadable(f"the source video is damaged: {describe_error(error)}") from error


def _survey_packets(source: VideoSource) -> _PacketSurvey:
    survey = _PacketSurvey([], [])
    for packet in source.stored_packets():
        if not survey.count and packet.has_sidedata("encryption_info"):
            raise MediaUnreadable(ENCRYPTED)
        if packet.size:
            survey.add(packet)
    return survey


def _distinct_times(source: VideoSource, survey: _PacketSurvey) -> list[int] | None:
    """All timestamps, ascending; None if they do not tell all pictures apart."""
    times = sorted(survey.pts)
    codec, container = source.stream.codec_context.name, source.container.format.name
    if not survey.is_regular or container in BARE_FORMATS:
        return None
    if codec == "mpeg4" and container == "avi":
        return None  # Xvid and DivX put two pictures into a packet, or none
    if not survey.keys or any(before == after for before, after in pairwise(times)):
        return None
    compared = 1 if container in _WHOLE_PICTURES and codec != "mpeg4" else COMPARED_PICTURES
    decoder = source.from_start()
    frames = iter(lambda: decoder.decode_until(_LOWEST), None)
    shown = [frame for _, frame in zip(range(compared), frames, strict=False)]
    if codec == "h264" and container in _SPLIT_PACKETS and shown and shown[0].frame.interlaced_frame:
        return None
    whole = [not frame.corrupt and not frame.frame.is_corrupt for frame in shown]
    if survey.begins_with_key:
        first = min([survey.keys[0], *(frame.pts for frame in shown[:1])])
    else:
        first = next((frame.pts for frame, is_whole in zip(shown, whole, strict=True) if is_whole), survey.keys[0])
        shown = [frame for frame in shown if frame.pts >= first]
    times = times[bisect_left(times, first) :]
    if all(whole) and not decoder.has_failed and [frame.pts for frame in shown] != times[: len(shown)]:
        return None
    return times


def _count_pictures(source: VideoSource, numbering: Numbering) -> PictureList:
    """Decode everything, in order: a decoder alone knows which packets become pictures."""
    decoder = source.all_packets(numbering)
    source.stream.codec_context.options = {"skip_loop_filter": "all"}
    packets: list[int] = []
    keys: list[int] = []
    for frame in decoder.frames():
        if frame.frame.key_frame:
            keys.append(len(packets))
        packets.append(frame.pts)
    if not packets:
        raise MediaUnreadable(source.missing_pictures_reason())
    return PictureList(range(len(packets)), keys, packets)
