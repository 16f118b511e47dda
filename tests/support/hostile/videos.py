"""Hostile source videos: tables, sizes and times that lie, and streams that change."""

import functools
import io
import struct
from collections.abc import Callable

import av
import numpy as np

from tests.support.data import media

PICTURES = [media.numbered_picture(number, 64, 48) for number in range(12)]


def encode(container: str, codec: str, size: tuple[int, int] = (64, 48), count: int = 12) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(media.numbered_picture(number, *size), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


@functools.cache
def mp4() -> bytes:
    return media.video(PICTURES)


@functools.cache
def mkv() -> bytes:
    return encode("matroska", "libx264")


@functools.cache
def avi() -> bytes:
    return encode("avi", "mjpeg")


def changed(data: bytes, name: bytes, offset: int, value: bytes) -> bytes:
    """The bytes at `offset` behind a box's or element's name are others."""
    at = data.index(name) + len(name) + offset
    return data[:at] + value + data[at + len(value) :]


def resized(name: bytes, size: int) -> bytes:
    return changed(mp4(), name, -8, struct.pack(">I", size))


def concatenated() -> bytes:
    """H.264 whose pictures change their size in the middle of the stream."""
    small, large = encode("h264", "libx264"), encode("h264", "libx264", (320, 240))
    return small + large + small


def swollen_av1() -> bytes:
    """The header of the sequence says 65536 x 65536."""
    data = encode("ivf", "libsvtav1")
    return data[:12] + struct.pack("<HH", 65_535, 65_535) + data[16:]


def noise(count: int) -> bytes:
    return bytes(np.random.default_rng(9).integers(0, 256, count, np.uint8))


FOUR = struct.pack(">I", 2**32 - 1)
MANY = struct.pack(">I", 2**31 - 1)
VIDEOS: dict[str, Callable[[], bytes]] = {
    "stsz count.mp4": lambda: changed(mp4(), b"stsz", 8, FOUR),
    "stsz sizes.mp4": lambda: changed(mp4(), b"stsz", 12, FOUR * 12),
    "stts count.mp4": lambda: changed(mp4(), b"stts", 8, MANY),
    "stts durations.mp4": lambda: changed(mp4(), b"stts", 12, FOUR),
    "ctts count.mp4": lambda: changed(mp4(), b"ctts", 8, MANY),
    "stco nowhere.mp4": lambda: changed(mp4(), b"stco", 8, FOUR),
    "stsc count.mp4": lambda: changed(mp4(), b"stsc", 4, MANY),
    "elst negative.mp4": lambda: changed(mp4(), b"elst", 8, struct.pack(">Ii", 1000, -(2**31))),
    "elst count.mp4": lambda: changed(mp4(), b"elst", 4, FOUR),
    "no time scale.mp4": lambda: changed(mp4(), b"mdhd", 12, bytes(4)),
    "huge time scale.mp4": lambda: changed(mp4(), b"mdhd", 12, FOUR),
    "huge picture.mp4": lambda: changed(mp4(), b"avc1", 24, b"\xff\xff\xff\xff"),
    "moov in itself.mp4": lambda: resized(b"trak", 2**31),
    "box of no size.mp4": lambda: resized(b"mdia", 0),
    "cut.mp4": lambda: mp4()[: len(mp4()) // 2],
    "only ftyp.mp4": lambda: mp4()[:32],
    "SPS noise.mp4": lambda: changed(mp4(), b"avcC", 4, noise(20)),
    "picture noise.mp4": lambda: changed(mp4(), b"mdat", 800, noise(1200)),
    "EBML size.mkv": lambda: changed(mkv(), b"\x1a\x45\xdf\xa3", 0, b"\x01\xff\xff\xff\xff\xff\xff\xfe"),
    "segment size.mkv": lambda: changed(mkv(), b"\x18\x53\x80\x67", 0, b"\x01\x00\x00\x00\x00\x00\x00\x01"),
    "track size.mkv": lambda: changed(mkv(), b"\x16\x54\xae\x6b", 0, b"\x01\x0f\xff\xff\xff\xff\xff\xff"),
    "cut.mkv": lambda: mkv()[:900],
    "index.avi": lambda: changed(avi(), b"idx1", 0, struct.pack("<I", 2**31)),
    "index entries.avi": lambda: changed(avi(), b"idx1", 4, b"\xff" * 190),
    "rate of none.avi": lambda: changed(avi(), b"vidsMJPG", 12, bytes(8)),
    "size.avi": lambda: changed(avi(), b"strf", 8, struct.pack("<ii", 60_000, -60_000)),
    "changing size.h264": concatenated,
    "swollen.ivf": swollen_av1,
    "noise.mpg": lambda: b"\0\0\1\xba" + noise(200_000),
    "noise.ts": lambda: b"".join(b"\x47" + noise(187) for _ in range(2000)),
    "a page.mp4": lambda: b"<!doctype html><html></html>",
    "a playlist.mp4": lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a list of files.mkv": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a manifest.mp4": lambda: b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "empty.mp4": lambda: b"",
}
