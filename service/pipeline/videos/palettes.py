"""Palettes of source videos: a container hands them over with the first packet only, which a seek leaves behind."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from av import Packet
from av.container import InputContainer
from av.packet import PacketSideData
from av.video.stream import VideoStream

PALETTE_FORMAT = "pal8"
# AVISF_VIDEO_PALCHANGES of a stream's header (Microsoft's AVISTREAMHEADER): later chunks change the palette.
_PALETTE_CHANGES = 0x0001_0000
_AVI_HEADER_BYTES = 4096


class SourcePalette(NamedTuple):
    """The palette of a video's first packet, or None if the pictures themselves hold one.

    `sequential`: it changes along the file, so that decoding has to begin with the first packet.
    """

    first: PacketSideData | None
    sequential: bool


def read_palette(container: InputContainer, stream: VideoStream, file: BinaryIO) -> SourcePalette:
    """Reads the first packet of a stream with palettes: open the container again afterwards. Raises av.FFmpegError."""
    packet = next((packet for packet in container.demux(stream) if packet.size), None)
    if packet is not None and packet.has_sidedata("palette"):
        return SourcePalette(packet.get_sidedata("palette"), _changes_palette(file))
    return SourcePalette(None, not stream.codec_context.codec.intra_only)


def carry_palette(packets: Iterable["Packet[VideoStream]"], first: PacketSideData) -> Iterator["Packet[VideoStream]"]:
    """Attach to each packet the palette that holds for it, `first` until another one comes."""
    current = first
    for packet in packets:
        if packet.has_sidedata("palette"):
            current = packet.get_sidedata("palette")
        elif packet.size:
            packet.set_sidedata(current)
        yield packet


def _changes_palette(file: BinaryIO) -> bool:
    """Whether an AVI says so in the header of its first video stream; moves the position in `file`."""
    file.seek(0)
    head = file.read(_AVI_HEADER_BYTES)
    start = head.find(b"vids")
    flags = int.from_bytes(head[start + 8 : start + 12], "little")
    return head.startswith(b"RIFF") and start >= 0 and bool(flags & _PALETTE_CHANGES)
