"""Tar archives as programs write them, and as nobody should."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

END = bytes(2 * tarfile.BLOCKSIZE)


def archive(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Of plain files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def member(name: str, data: bytes = b"", form: int = tarfile.PAX_FORMAT, **fields: Any) -> bytes:
    """One member without an end behind it; `fields` are those of a TarInfo, also impossible ones."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def extended_header(data: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header of these records."""
    return member("PaxHeader", data, tarfile.USTAR_FORMAT, type=kind)


def record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, with its own length before it."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def with_field(block: bytes, place: int, value: bytes) -> bytes:
    """The header with other bytes at a place, and the checksum that fits."""
    changed = bytearray(block[: tarfile.BLOCKSIZE])
    changed[place : place + len(value)] = value
    changed[148:156] = b" " * 8
    changed[148:156] = f"{sum(changed):06o}\0 ".encode()
    return bytes(changed) + block[tarfile.BLOCKSIZE :]
