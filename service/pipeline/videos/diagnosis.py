"""Says in plain words why a file cannot be shown as a video."""

import errno
import struct
from collections.abc import Iterator
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

ENCRYPTED = "the source video is encrypted (DRM): decrypt it, then scan again"

_HEAD_BYTES = 4096
# Of an index (moov) that is searched for the name of an unknown codec.
_MAX_INDEX_BYTES = 4 * 1024 * 1024
_MAX_BOXES = 256
# Boxes that an MP4 or MOV begins with; `moof` and `sidx` begin the fragments of a stream.
_FILE_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid")
_FRAGMENT_BOXES = (b"styp", b"moof", b"sidx")

_NOT_A_VIDEO, _UNUSABLE = "the source is not a video: ", "the source video cannot be opened: "
_NO_INDEX = (
    "the file's index (moov) is missing, the recording was probably cut off: "
    "rebuild the index (untrunc does it with a whole recording of the same camera), then scan again"
)
_CUT_INDEX = "the file's index (moov) is cut off, the copy is not complete: copy the file again"
_FRAGMENT = "it is a fragment of a stream without its header (moov): put the header's file before the fragments"
# First bytes -> what such a file is.
_OTHER_FILES = (
    (b"\x89PNG", "it is a PNG image"),
    (b"\xff\xd8\xff", "it is a JPEG image"),
    (b"GIF8", "it is a damaged GIF"),
    (b"PK\x03\x04", "it is a ZIP archive"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"Rar!", "it is a RAR archive"),
    (b"%PDF", "it is a PDF document"),
    (b"\x7fELF", "it is a program"),
    (b"MZ", "it is a program"),
)
_VIDEO_FILES = (
    (b"RIFF", "an AVI"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (b"FLV", "an FLV"),
    (b"\x30\x26\xb2\x75", "a WMV"),
    (b"\x06\x0e\x2b\x34", "an MXF"),
    (b"\0\0\x01\xba", "an MPEG program stream"),
    (b"OggS", "an Ogg file"),
    (b"\x47", "an MPEG transport stream"),
)


def describe_error(error: av.FFmpegError) -> str:
    """What went wrong while a source was read, in plain words."""
    if isinstance(error, av.error.EOFError):
        return "it ends early"
    return "it cannot be read" if error.errno == errno.EIO else "its data cannot be decoded"


def missing_pictures_reason(file: BinaryIO, stream: VideoStream) -> str:
    """Why not even one picture of an open video can be shown; moves the position in `file`."""
    if b"encv" in _read_index(file):
        return ENCRYPTED
    if loss := describe_loss(file, stream):
        return loss
    if not (stream.width and stream.height):
        return f"the source video has no pictures: its header says {stream.width}x{stream.height} pixels"
    return "the source video has no pictures"


def describe_loss(file: BinaryIO, stream: VideoStream) -> str | None:
    """How many of the pictures that the index lists reach beyond the end of the file; None if it is whole."""
    entries = stream.index_entries
    size, count = file.seek(0, 2), len(entries)
    if not count or entries[-1].pos + entries[-1].size <= size:
        return None
    whole = sum(entry.pos + entry.size <= size for entry in entries)
    return f"the file is cut off: {whole or 'none'} of its {count} pictures {'is' if whole == 1 else 'are'} whole"


def describe_streams(container: InputContainer, file: BinaryIO) -> str:
    """What a readable container holds instead of a video."""
    if any(stream.codec_context is None for stream in container.streams.video):
        code = _sample_code(file)
        return f"{_UNUSABLE}its codec {code} is not supported" if code else f"{_UNUSABLE}its codec is not supported"
    kinds = {"audio": "audio", "subtitle": "subtitles", "data": "data", "attachment": "attachments"}
    held = [named for kind, text in kinds.items() if (named := _name_streams(container, kind, text))]
    held += ["a cover picture"] if container.streams.video else []
    return f"{_NOT_A_VIDEO}it holds {'only ' if held else ''}{' and '.join(held) or 'nothing that can be shown'}"


def _name_streams(container: InputContainer, kind: str, text: str) -> str:
    """Such as "audio (aac)"; empty without such a stream."""
    streams = [stream for stream in container.streams if stream.type == kind]
    codecs = dict.fromkeys(name for stream in streams if (name := _codec_name(stream)))
    return f"{text} ({', '.join(codecs)})" if codecs else text if streams else ""


def _codec_name(stream: Stream) -> str | None:
    return stream.codec_context.codec.canonical_name if stream.codec_context else None


def describe_file(file: BinaryIO) -> str:
    """Why FFmpeg does not open the file, from its first bytes."""
    head = _read(file, 0, _HEAD_BYTES)
    if not head:
        return f"{_NOT_A_VIDEO}the file is empty"
    if not any(head):
        return f"{_NOT_A_VIDEO}the file holds only zeros, its contents are lost"
    if head[4:8] in _FRAGMENT_BOXES:
        return _UNUSABLE + _FRAGMENT
    if head[4:8] in _FILE_BOXES:
        return describe_boxes(file) or f"{_UNUSABLE}its index (moov) is damaged"
    for magic, text in _OTHER_FILES:
        if head.startswith(magic):
            return _NOT_A_VIDEO + text
    for magic, text in _VIDEO_FILES:
        if head.startswith(magic):
            return f"{_UNUSABLE}it begins like {text}, but is damaged or cut off near its beginning"
    if _is_text(head):
        return f"{_NOT_A_VIDEO}it is {'a web page' if b'<html' in head.lower() else 'a text file'}"
    return f"{_NOT_A_VIDEO}no known format begins like this file"


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head) and head.isascii()


def describe_boxes(file: BinaryIO) -> str | None:
    """What is wrong with the boxes of an MP4 or MOV; None if it has a whole index, or is no such file."""
    size, names = file.seek(0, 2), set[bytes]()
    for name, _, stop in _boxes(file, size):
        if not names and name not in _FILE_BOXES:
            return None
        if name == b"moov":
            return _UNUSABLE + _CUT_INDEX if stop > size else None
        names.add(name)
    return _UNUSABLE + _NO_INDEX if names else None


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start of the contents, end) of the top-level boxes (ISO/IEC 14496-12, 4.2); the end may lie outside."""
    position = 0
    for _ in range(_MAX_BOXES):
        header = _read(file, position, 16)
        if len(header) < 8:
            return
        length, name, begin = int.from_bytes(header[:4]), header[4:8], position + 8
        if length == 1 and len(header) == 16:
            length, begin = struct.unpack(">Q", header[8:])[0], position + 16
        length = size - position if length == 0 else length
        yield name, begin, position + length
        if length < 8:
            return
        position += length


def _read_index(file: BinaryIO) -> bytes:
    """The beginning of the index (moov) of an MP4 or MOV; empty without one."""
    for name, start, stop in _boxes(file, file.seek(0, 2)):
        if name == b"moov":
            return _read(file, start, min(stop - start, _MAX_INDEX_BYTES))
    return b""


def _sample_code(file: BinaryIO) -> str | None:
    """The four-character code of the first video track of an MP4 or MOV."""
    index = _read_index(file)
    description = index.find(b"stsd", max(index.find(b"vide"), 0))
    code = index[description + 16 : description + 20] if description >= 0 else b""
    text = code.decode("latin1")
    return f"'{text}'" if text.isascii() and text.isprintable() and text else None


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
