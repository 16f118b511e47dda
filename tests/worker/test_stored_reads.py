"""Segments are read several at a time, within a bound of bytes, and come in order."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectMissing
from service.store.objects_files import FileObjectStore
from service.worker.stored_reads import MOST, WINDOW_BYTES, StoredReads, windows

NAMES = [f"segments/{number}" for number in range(2 * MOST + 3)]


@given(st.lists(st.integers(0, 2 * WINDOW_BYTES), max_size=60))
def test_windows_keep_the_order_and_their_bounds(sizes: list[int]) -> None:
    sized = [(str(number), size) for number, size in enumerate(sizes)]
    found = list(windows(sized))
    assert [name for run in found for name in run] == [name for name, _ in sized]
    for run in found:
        assert 1 <= len(run) <= MOST
        assert len(run) == 1 or sum(sizes[int(name)] for name in run) <= WINDOW_BYTES


@given(st.lists(st.integers(0, WINDOW_BYTES // 8), max_size=60))
def test_what_fits_together_is_not_read_apart(sizes: list[int]) -> None:
    found = list(windows([(str(number), size) for number, size in enumerate(sizes)]))
    for run, after in pairwise(found):
        more = sum(sizes[int(name)] for name in [*run, after[0]])
        assert len(run) == MOST or more > WINDOW_BYTES


@pytest.fixture
def reads(tmp_path: Path) -> Iterator[StoredReads]:
    store = FileObjectStore(tmp_path, "bucket")
    with asyncio.Runner() as runner:
        for name in NAMES:
            runner.run(store.put(ObjectRef("bucket", name), name.encode(), "text/plain"))
        yield StoredReads(store, runner)


def test_in_order(reads: StoredReads) -> None:
    assert reads.all_of(NAMES) == [name.encode() for name in NAMES]
    assert list(reads.each(NAMES)) == [name.encode() for name in NAMES]
    assert reads.all_of([]) == list(reads.each([])) == []


def test_one_that_is_gone_is_told_and_the_others_can_be_read_again(reads: StoredReads) -> None:
    with pytest.raises(ObjectMissing):
        reads.all_of([*NAMES[:3], "segments/gone", *NAMES[3:]])
    assert reads.all_of(NAMES[:2]) == [name.encode() for name in NAMES[:2]]
