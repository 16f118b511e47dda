"""Lists the pictures of a source video in presentation order, and tells how each of them is found again."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import av
from av import Packet
from av.video.stream import VideoStream

from service.pipeline.frames import MediaUnreadable
from service.pipeline.videos.counted import BARE_FORMATS, BROADCAST_FORMATS, Numbering, PacketNumbers
from service.pipeline.videos.decoder import DecodedFrame, ForwardDecoder
from service.pipeline.videos.diagnosis import ENCRYPTED, describe_error
from service.pipeline.videos.source import VideoSource

# Pictures that are decoded to see whether they come out with the timestamps of the packets, in their order.
COMPARED_PICTURES = 32
# A packet of these holds a whole picture, whose timestamp is in the file: only its first is compared.
_WHOLE_PICTURES = "mov,mp4,m4a,3gp,3g2,mj2"
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
class _Run:
    """Packets whose decoding times do not fall: a recording, or what lies between two cuts of one."""

    begins_with_key: bool
    pts: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)

    def times(self) -> list[int]:
        """Ascending."""
        return sorted(self.pts)


class _PacketSurvey:
    """What the packets say, without decoding: timestamps, and whether they and the byte offsets are in order."""

    def __init__(self, packets: "Iterable[Packet[VideoStream]]", *, times_as_stored: bool) -> None:
        self.runs: list[_Run] = []
        self.has_all_times = self.offsets_rise = True
        self._last_dts, self._last_pos = _LOWEST, -1
        self._numbers = PacketNumbers("offset")
        self._times_as_stored = times_as_stored
        for packet in packets:
            if not self.runs and packet.has_sidedata("encryption_info"):
                raise MediaUnreadable(ENCRYPTED)
            if packet.size:
                self._add(packet)

    def _add(self, packet: "Packet[VideoStream]") -> None:
        number = self._numbers.number(packet)
        if packet.pos is not None:
            self.offsets_rise &= packet.pos >= self._last_pos
            self._last_pos = packet.pos
        # A broadcast leaves out a decoding time that equals the presentation time.
        decoded_at = packet.pts if packet.dts is None and self._times_as_stored else packet.dts
        if not self.runs or (decoded_at is not None and decoded_at < self._last_dts):
            self.runs.append(_Run(bool(packet.is_keyframe)))
        self._last_dts = self._last_dts if decoded_at is None else decoded_at
        if packet.is_discard:
            return
        if packet.pts is None:
            self.has_all_times = False
            return
        run = self.runs[-1]
        run.pts.append(packet.pts)
        run.numbers.append(number)
        if packet.is_keyframe:
            run.keys.append(packet.pts)

    @property
    def runs_begin_with_keys(self) -> bool:
        return all(run.begins_with_key for run in self.runs)

    @property
    def tells_pictures_apart(self) -> bool:
        """Whether no two pictures of a run have the same timestamp, and none lacks one."""
        distinct = all(len(set(run.pts)) == len(run.pts) for run in self.runs)
        return self.has_all_times and distinct and bool(self.runs[0].keys)


def list_pictures(source: VideoSource) -> PictureList:
    """Reads all packets, and decodes a few pictures, or all where only that tells them apart. Raises MediaUnreadable.

    Undecodable pictures before the first one that can be decoded, as in a recording that begins within a group of
    pictures, are not counted.
    """
    try:
        survey = _PacketSurvey(
            source.stored_packets(), times_as_stored=source.container.format.name in BROADCAST_FORMATS
        )
        if not survey.runs:
            raise MediaUnreadable(source.missing_pictures_reason())
        return _by_timestamp(source, survey) or _by_decoding(source, survey)
    except av.error.MemoryError:
        raise
    except av.FFmpegError as error:
        raise MediaUnreadable(f"the source video is damaged: {describe_error(error)}") from error


def _by_timestamp(source: VideoSource, survey: _PacketSurvey) -> PictureList | None:
    """None if the timestamps are not those with which the pictures come out of the decoder."""
    codec, container = source.stream.codec_context.name, source.container.format.name
    if container in BARE_FORMATS or not survey.tells_pictures_apart:
        return None
    if codec == "mpeg4" and container == "avi":
        return None  # Xvid and DivX put two pictures into a packet, or none
    if len(survey.runs) > 1 and not (container in BROADCAST_FORMATS and survey.runs_begin_with_keys):
        return None
    decoder = source.from_start()
    frames = iter(lambda: decoder.decode_until(_LOWEST), None)
    count = 1 if container == _WHOLE_PICTURES and codec != "mpeg4" else COMPARED_PICTURES
    shown = [_ShownPicture.of(frame) for frame in islice(frames, count)]
    if codec == "h264" and container in _SPLIT_PACKETS and shown and shown[0].is_interlaced:
        return None
    times = _compare(survey.runs[0], decoder, shown, starts_anywhere=container in BROADCAST_FORMATS)
    if times is None:
        return None
    if len(survey.runs) > 1:
        return _join_runs(survey.runs)
    return PictureList(times, [pts for pts in sorted(survey.runs[0].keys) if pts >= times[0]])


class _ShownPicture(NamedTuple):
    """What is compared of a decoded picture: all of them themselves would be gigabytes."""

    pts: int
    is_whole: bool
    is_interlaced: bool

    @classmethod
    def of(cls, decoded: DecodedFrame) -> "_ShownPicture":
        is_whole = not decoded.corrupt and not decoded.frame.is_corrupt
        return cls(decoded.pts, is_whole, decoded.frame.interlaced_frame)


def _compare(
    run: _Run, decoder: ForwardDecoder, shown: list[_ShownPicture], *, starts_anywhere: bool
) -> list[int] | None:
    """The timestamps of a run, from the first picture that can be decoded; None if `shown` has others."""
    times = run.times()
    whole = [picture.pts for picture in shown if picture.is_whole]
    is_damaged = decoder.has_failed or len(whole) < len(shown)
    if starts_anywhere and not run.begins_with_key:
        first = whole[0] if whole else run.keys[0]
    elif run.begins_with_key:  # an open group of pictures may be cut off before its key frame
        first = min([run.keys[0], *(picture.pts for picture in shown[:1])])
    else:
        first = times[0]
    times = times[bisect_left(times, first) :]
    expected = [picture.pts for picture in shown if picture.pts >= first]
    return times if is_damaged or expected == times[: len(expected)] else None


def _join_runs(runs: list[_Run]) -> PictureList:
    """One run after the other, each in the order of its timestamps."""
    packets: list[int] = []
    keys: list[int] = []
    for run in runs:
        keys_of_run = set(run.keys)
        for pts, number in sorted(zip(run.pts, run.numbers, strict=True)):
            if pts in keys_of_run:
                keys.append(len(packets))
            packets.append(number)
    return PictureList(range(len(packets)), keys, packets)


def _by_decoding(source: VideoSource, survey: _PacketSurvey) -> PictureList:
    """Decode everything, in order: the decoder alone knows which packets become pictures."""
    numbering: Numbering = "offset" if survey.offsets_rise else "count"
    decoder = source.all_packets(numbering, has_keys=any(run.keys for run in survey.runs))
    source.stream.codec_context.options = {"skip_loop_filter": "all", "skip_idct": "all"}
    packets: list[int] = []
    keys: list[int] = []
    for frame in decoder.frames():
        if frame.frame.key_frame:
            keys.append(len(packets))
        packets.append(frame.pts)
    if not packets:
        raise MediaUnreadable(source.missing_pictures_reason())
    return PictureList(range(len(packets)), keys, packets)
