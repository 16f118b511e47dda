"""Segments are read several at a time, within a bound of bytes, and come in order."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.render_plan import ObjectRef
from service.store.objects.digests import ObjectLost, StoredSegment, WrittenObject, sha256_hex
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectNotFound
from service.worker.fetch.batch_reader import MAX_BATCH_BYTES, MAX_BATCH_OBJECTS, BatchReader, batches

NAMES = [f"segments/{number}" for number in range(2 * MAX_BATCH_OBJECTS + 3)]


@given(st.lists(st.integers(0, 2 * MAX_BATCH_BYTES), max_size=60))
def test_windows_keep_the_order_and_their_bounds(sizes: list[int]) -> None:
    sized = [StoredSegment(str(number), size) for number, size in enumerate(sizes)]
    found = list(batches(sized))
    assert [segment for run in found for segment in run] == sized
    for run in found:
        assert 1 <= len(run) <= MAX_BATCH_OBJECTS
        assert len(run) == 1 or sum(segment.size for segment in run) <= MAX_BATCH_BYTES


@given(st.lists(st.integers(0, MAX_BATCH_BYTES // 8), max_size=60))
def test_what_fits_together_is_not_read_apart(sizes: list[int]) -> None:
    found = list(batches([StoredSegment(str(number), size) for number, size in enumerate(sizes)]))
    for run, after in pairwise(found):
        more = sum(segment.size for segment in [*run, after[0]])
        assert len(run) == MAX_BATCH_OBJECTS or more > MAX_BATCH_BYTES


@pytest.fixture
def reads(tmp_path: Path) -> Iterator[BatchReader]:
    store = FileObjectStore(tmp_path, "bucket")
    with asyncio.Runner() as runner:
        for name in NAMES:
            runner.run(store.put(ObjectRef("bucket", name), name.encode(), "text/plain"))
        yield BatchReader(store, runner)


def written(*names: str) -> list[WrittenObject]:
    return [WrittenObject(name, sha256_hex(name.encode())) for name in names]


def test_in_order(reads: BatchReader) -> None:
    assert reads.read_all(written(*NAMES)) == [name.encode() for name in NAMES]
    assert list(reads.iter_objects(written(*NAMES))) == [name.encode() for name in NAMES]
    assert reads.read_all([]) == list(reads.iter_objects([])) == []


def test_one_that_is_gone_is_told_and_the_others_can_be_read_again(reads: BatchReader) -> None:
    with pytest.raises(ObjectNotFound):
        reads.read_all(written(*NAMES[:3], "segments/gone", *NAMES[3:]))
    assert reads.read_all(written(*NAMES[:2])) == [name.encode() for name in NAMES[:2]]


def test_one_that_has_other_bytes_is_told(reads: BatchReader) -> None:
    other = WrittenObject(NAMES[1], sha256_hex(b"other"))
    with pytest.raises(ObjectLost):
        reads.read_all([*written(NAMES[0]), other])
    assert reads.read_all([WrittenObject(NAMES[1])]) == [NAMES[1].encode()], "without a digest nothing can be compared"
