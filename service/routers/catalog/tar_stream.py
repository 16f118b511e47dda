"""Reads a tar archive while it arrives: headers one by one, contents in pieces. No header has memory reserved for it.

The formats are ustar, pax (POSIX.1-2001) and GNU tar's long names. Python's `tarfile` wants a file that it can read at
any time, and gives headers as much memory as they ask for.
"""

import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

BLOCK = tarfile.BLOCKSIZE
END_BLOCK = bytes(BLOCK)
# Of what stands before a member: its long name and what else programs note of it, such as rights and labels.
MAX_EXTENSION_BYTES, MAX_EXTENSIONS = 32 * 1024, 4
# More digits than the size of any file has.
MAX_DIGITS = 19
PAX, PAX_GLOBAL = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), tarfile.XGLTYPE
EXTENSIONS = (*PAX, PAX_GLOBAL, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# Kinds of members that have no content, whatever size their headers say.
EMPTY_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
}
# Where the header of an old GNU sparse file, and each block of its map, say that another block of the map follows.
_SPARSE_FIRST, _SPARSE_NEXT = 482, 504
_SPARSE_KEYS = b"GNU.sparse."


class MalformedTar(Exception):
    """The text says what is wrong with the archive; what stands before that place was in order."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member of an archive, of `size` bytes. `kind` says what it is, if it is no plain file: "a link", "a folder"."""

    name: str
    size: int
    kind: str | None = None


class TarStream:
    """The members of an archive in order. Each is to be read, if at all, before the next one is asked for.

    Raises MalformedTar, and what `chunks` raises.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks, self._buffer = chunks, bytearray()
        # Bytes of the present member that were not read yet, and of the padding behind it.
        self._content, self._padding = 0, 0
        self._name = ""

    async def members(self) -> AsyncIterator[TarMember]:
        """Archives that follow each other are read as one. The last must have its end."""
        ended = False
        while block := await self._take(BLOCK):
            ended = block == END_BLOCK
            if not ended:
                member = await self._read_member(block)
                self._name, self._content, self._padding = member.name, member.size, -member.size % BLOCK
                yield member
                async for _ in self.content():
                    pass
                await self._take_all(self._padding)
        if not ended:
            raise MalformedTar("the archive breaks off: its end is missing")

    async def read(self) -> bytes:
        """The content of the present member at once."""
        return b"".join([piece async for piece in self.content()])

    async def content(self) -> AsyncIterator[bytes]:
        """What was not read yet of the present member, in pieces."""
        while self._content:
            if not self._buffer and not await self._fill(1):
                raise MalformedTar(f"the archive breaks off within {printable(self._name)}")
            piece = await self._take(min(self._content, len(self._buffer)))
            self._content -= len(piece)
            yield piece

    async def _read_member(self, block: bytes) -> TarMember:
        """The member that begins with this block, with the headers that stand before its own."""
        fields: dict[bytes, bytes] = {}
        for _ in range(MAX_EXTENSIONS + 1):
            info = _parse_header(block)
            if info.type not in EXTENSIONS:
                return await self._describe(info, block, fields)
            fields |= await self._read_extension(info)
            block = await self._take_all(BLOCK)
        raise MalformedTar(f"more than {MAX_EXTENSIONS} extended headers stand before one file")

    async def _read_extension(self, info: tarfile.TarInfo) -> dict[bytes, bytes]:
        """What the extended header says of the member behind it, by pax's names."""
        if info.size > MAX_EXTENSION_BYTES:
            raise MalformedTar(f"an extended header has {info.size} bytes: at most {MAX_EXTENSION_BYTES} are read")
        data = (await self._take_all(info.size + -info.size % BLOCK))[: info.size]
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return {b"path": data.partition(b"\0")[0]}
        if info.type == tarfile.GNUTYPE_LONGLINK:
            return {}
        fields = _parse_pax(data)
        if info.type == PAX_GLOBAL and fields:
            raise MalformedTar("a global header that names or measures files is not supported")
        return fields

    async def _describe(self, info: tarfile.TarInfo, block: bytes, fields: dict[bytes, bytes]) -> TarMember:
        name = fields[b"path"].decode("utf-8", "surrogateescape") if b"path" in fields else info.name
        if info.type in EMPTY_KINDS:
            return TarMember(name, 0, EMPTY_KINDS[info.type])
        size, kind = _to_size(fields[b"size"]) if b"size" in fields else info.size, None
        if info.type == tarfile.GNUTYPE_SPARSE:
            more = block[_SPARSE_FIRST]
            while more:
                more = (await self._take_all(BLOCK))[_SPARSE_NEXT]
        if info.type == tarfile.GNUTYPE_SPARSE or _SPARSE_KEYS in fields:
            kind = "a sparse file"
        elif info.type not in tarfile.REGULAR_TYPES:
            kind = "of an unknown kind"
        return TarMember(name, size, kind)

    async def _take_all(self, size: int) -> bytes:
        data = await self._take(size)
        if len(data) < size:
            raise MalformedTar("the archive breaks off")
        return data

    async def _take(self, size: int) -> bytes:
        """So many bytes, or fewer where the stream ends."""
        await self._fill(size)
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    async def _fill(self, size: int) -> bool:
        """Whether there are so many bytes."""
        while len(self._buffer) < size:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return False
            self._buffer += chunk
        return True


def printable(name: str) -> str:
    """The name as text that can be sent; not all of an endless one."""
    return name[:1000].encode("utf-8", "backslashreplace").decode()


def _parse_header(block: bytes) -> tarfile.TarInfo:
    if block.startswith(b"\x1f\x8b"):
        raise MalformedTar("the archive is compressed: send it as it is, without gzip")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise MalformedTar("this is no tar archive, or it is damaged: a header was expected") from error
    if info.size < 0:
        raise MalformedTar(f"the header of {printable(info.name)} says a negative size")
    return info


def _parse_pax(data: bytes) -> dict[bytes, bytes]:
    """The name and the size of the member, if they are there, and whether it is sparse. Records are "LENGTH KEY=VALUE"
    and a line feed; some programs fill the rest with zeros."""
    fields: dict[bytes, bytes] = {}
    start = 0
    while start < len(data) and data[start]:
        space = data.find(b" ", start, start + MAX_DIGITS)
        length = _to_size(data[start:space] if space > start else b"")
        key, equals, value = data[space + 1 : start + length - 1].partition(b"=")
        start += length
        if not length or start > len(data) or not equals or data[start - 1 : start] != b"\n":
            raise MalformedTar("an extended header is damaged")
        if key in (b"path", b"size"):
            fields[key] = value
        elif key.startswith(_SPARSE_KEYS):
            fields[_SPARSE_KEYS] = b""
    return fields


def _to_size(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise MalformedTar("an extended header is damaged: it has no valid size")
    return int(digits)
