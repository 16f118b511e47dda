"""Small files travel together, as the members of a tar archive: a request each would take longer than their bytes."""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.client.files.reading import FileChanged, look_at, open_file, read_exactly, require_same

# A file that is larger travels alone; an archive has at most so many files and bytes.
MAX_FILE_BYTES, MAX_FILES, MAX_BYTES = 512 * 1024, 200, 8 * 1024 * 1024


@dataclass(slots=True)
class Bundle:
    """An archive: its bytes, its files in order as they were looked at, and those that could not be read now."""

    content: bytes = b""
    files: dict[str, os.stat_result] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def split_into_bundles(files: Mapping[str, os.stat_result], names: Iterable[str]) -> Iterator[list[str]]:
    """Names that travel together, in their order: many small files, or one large one."""
    bundle, size = list[str](), 0
    for name in names:
        length = files[name].st_size
        if length > MAX_FILE_BYTES:
            yield [name]
            continue
        if bundle and (len(bundle) >= MAX_FILES or size + length > MAX_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append(name)
        size += length
    if bundle:
        yield bundle


def pack(folder: Path, names: Iterable[str]) -> Bundle:
    """Read the files into an archive. What changes or cannot be read is left for later."""
    bundle, parts = Bundle(), list[bytes]()
    for name in names:
        try:
            status, data = _read(folder / name)
        except (FileChanged, OSError):
            bundle.unread.append(name)
            continue
        member = tarfile.TarInfo(name)
        member.size = len(data)
        parts += (member.tobuf(), data, bytes(-len(data) % tarfile.BLOCKSIZE))
        bundle.files[name] = status
    bundle.content = b"".join((*parts, bytes(2 * tarfile.BLOCKSIZE)))
    return bundle


def _read(path: Path) -> tuple[os.stat_result, bytes]:
    """Raises FileChanged, OSError."""
    status = look_at(path)
    if status.st_size > MAX_FILE_BYTES:
        raise FileChanged  # it has grown
    with open_file(path) as file:
        data = read_exactly(file, status.st_size)
    require_same(path, status)
    return status, data
