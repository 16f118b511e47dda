"""Archives are read as `tarfile` reads them, in pieces of any size; hostile ones end with a reason and take no memory."""

import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.routers.catalog.tar_stream import MAX_EXTENSION_BYTES, MalformedTar, TarMember, TarStream
from tests.support.data.archives import END, archive, extended_header, member, record, with_field

pytestmark = pytest.mark.anyio
FILES = {
    f"day 1/{'long folder/' * (number % 12)}é{number}.jpg": bytes([number]) * (number * 37) for number in range(40)
}
SIZE_FIELD = 124


async def chunks(data: bytes, length: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


async def read(data: bytes, length: int = 1000) -> dict[str, bytes]:
    tar = TarStream(chunks(data, length))
    return {found.name: await tar.read() async for found in tar.members()}


async def members(data: bytes) -> list[TarMember]:
    return [found async for found in TarStream(chunks(data, 1000)).members()]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [1, 511, 512, 65_536, 10**7])
async def test_members_are_those_of_tarfile(form: int, length: int) -> None:
    assert await read(archive(FILES, form), length) == FILES


async def test_what_gnu_tar_writes(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for form in ("ustar", "gnu", "pax"):
        command = ["tar", f"--format={form}", "-cf", "-", "-C", str(tmp_path), "day 1"]
        written = subprocess.run(command, check=True, capture_output=True).stdout
        tar = TarStream(chunks(written, 4096))
        found = {each.name: await tar.read() async for each in tar.members() if each.kind is None}
        assert found == FILES, form


async def test_contents_that_nobody_reads_are_passed_over() -> None:
    assert [found.name for found in await members(archive(FILES))] == list(FILES)


async def test_archives_one_after_the_other() -> None:
    assert await read(archive({"a": b"1"}) + archive({"b": b"2"})) == {"a": b"1", "b": b"2"}


async def test_kinds_of_members() -> None:
    kinds = {
        tarfile.SYMTYPE: "a link",
        tarfile.LNKTYPE: "a link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
        tarfile.DIRTYPE: "a folder",
    }
    data = b"".join(member("x", type=kind, linkname="/etc/passwd", size=10**6) for kind in kinds)
    data += member("x", b"abc", type=b"Z") + member("last", b"abc", type=tarfile.CONTTYPE) + END
    expected = [TarMember("x", 0, kind) for kind in kinds.values()]
    assert await members(data) == [*expected, TarMember("x", 3, "of an unknown kind"), TarMember("last", 3)]


async def test_sparse_files() -> None:
    """The maps of old ones have blocks of their own before the content; newer ones are told by their pax records."""
    old = with_field(member("old", b"x" * 600, tarfile.GNU_FORMAT, type=tarfile.GNUTYPE_SPARSE), 482, b"\1")
    mapped = bytes(504) + b"\1" + bytes(7) + bytes(512)
    data = old[:512] + mapped + old[512:]
    data += extended_header(record(b"GNU.sparse.major", b"1") + record(b"path", b"new")) + member(
        "GNUSparseFile.0/new", b"12"
    )
    found = await members(data + member("last") + END)
    assert found == [TarMember("old", 600, "a sparse file"), TarMember("new", 2, "a sparse file"), TarMember("last", 0)]


async def test_extended_headers_say_name_and_size() -> None:
    size = 70_000
    data = extended_header(record(b"size", str(size).encode()) + record(b"comment", b"a=b\nc") + bytes(9))
    data += with_field(member("x", bytes(size)), SIZE_FIELD, b"00000000000\0") + END
    assert await members(data) == [TarMember("x", size)]
    ignored = extended_header(record(b"comment", b"of git archive"), tarfile.XGLTYPE)
    assert await read(ignored + archive({"a": b"1"})) == {"a": b"1"}


HEADER = member("x", b"content")
HOSTILE = {
    "no archive": (b"\xff\xd8\xff\xe0" * 1000, "no tar archive"),
    "text": (b"{}" * 10, "no tar archive"),
    "nothing": (b"", "its end is missing"),
    "gzip": (b"\x1f\x8b" + bytes(600), "without gzip"),
    "no end": (HEADER, "its end is missing"),
    "half an end": (HEADER + bytes(100), "no tar archive"),
    "a cut header": (HEADER + HEADER[:300] + b"x", "no tar archive"),
    "a cut content": (member("day/x", b"1" * 600)[:900], "breaks off within day/x"),
    "a cut padding": (member("x", b"1" * 600)[:1200], "breaks off"),
    "a wrong checksum": (HEADER[:100] + b"9" + HEADER[101:] + END, "no tar archive"),
    "a negative size": (with_field(HEADER, SIZE_FIELD, b"\xff" * 12) + END, "negative size"),
    "a negative octal size": (with_field(HEADER, SIZE_FIELD, b"-0000000007\0") + END, "negative size"),
    "a size in words": (with_field(HEADER, SIZE_FIELD, b"seven bytes\0") + END, "no tar archive"),
    "an endless size": (with_field(HEADER, SIZE_FIELD, b"\x80" + b"\xff" * 11) + END, "breaks off within x"),
    "an endless pax size": (extended_header(record(b"size", b"9" * 30)) + HEADER + END, "no valid size"),
    "a negative pax size": (extended_header(record(b"size", b"-5")) + HEADER + END, "no valid size"),
    "a long pax header": (extended_header(bytes(MAX_EXTENSION_BYTES + 1)) + HEADER + END, f"at most {MAX_EXTENSION_BYTES}"),
    "an endless pax header": (with_field(extended_header(b"x"), SIZE_FIELD, b"77777777777\0"), "8589934591 bytes"),
    "pax before pax": (extended_header(b"") * 1000 + HEADER + END, "more than 4 extended headers"),
    "pax without a file": (extended_header(record(b"path", b"y")), "breaks off"),
    "pax before the end": (extended_header(record(b"path", b"y")) + END, "no tar archive"),
    "a record of length 0": (extended_header(b"0 path=x\n") + HEADER + END, "an extended header is damaged"),
    "a record beyond the end": (extended_header(b"99 path=x\n") + HEADER + END, "an extended header is damaged"),
    "a record without a value": (extended_header(b"7 path\n") + HEADER + END, "an extended header is damaged"),
    "a record without a length": (extended_header(b"path=x\n") + HEADER + END, "an extended header is damaged"),
    "a global name": (extended_header(record(b"path", b"x"), tarfile.XGLTYPE) + HEADER + END, "global header"),
    "an endless long name": (extended_header(b"x" * 40_000, tarfile.GNUTYPE_LONGNAME) + HEADER + END, "40000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("length", [1, 512, 10**6])
async def test_hostile_archives_end_with_a_reason(data: str, length: int) -> None:
    archive_bytes, reason = HOSTILE[data]
    with pytest.raises(MalformedTar, match=reason):
        await read(archive_bytes, length)


async def test_every_cut_is_noticed() -> None:
    whole = archive({"a": b"1" * 700, "long " * 40: b"2"}, tarfile.PAX_FORMAT)
    content = len(whole.rstrip(b"\0"))
    for cut in range(1, content + 400, 13):
        with pytest.raises(MalformedTar):
            await read(whole[:cut])


async def test_names_that_are_not_utf8() -> None:
    (found,) = await members(with_field(member("caf_.jpg"), 3, b"\xe9") + END)
    assert found.name == "caf\udce9.jpg"


async def test_long_members_take_no_memory() -> None:
    """64 MiB, and an archive of a thousand extended headers."""
    size, piece = 64 * 2**20, bytes(2**16)

    async def body() -> AsyncIterator[bytes]:
        yield with_field(member("x"), SIZE_FIELD, f"{size:011o}\0".encode())
        for _ in range(size // len(piece)):
            yield piece
        for _ in range(1000):
            yield extended_header(record(b"comment", b"x" * 30_000)) + member("y")
        yield END

    tracemalloc.start()
    try:
        assert len([found async for found in TarStream(body()).members()]) == 1001
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


async def test_it_agrees_with_tarfile_on_damaged_archives() -> None:
    """Whatever one byte of a header becomes: the members are the same, or the archive is refused."""
    whole = archive({"a.jpg": b"1" * 100, "b" * 120: b"2"}, tarfile.PAX_FORMAT)
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        try:
            found = await read(bytes(changed))
        except MalformedTar:
            continue
        with tarfile.open(fileobj=io.BytesIO(changed)) as tar:
            assert set(found) <= set(tar.getnames()), place
