"""What is read is what the scan found: objects that change, and every kind of broken answer of an S3 server."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from service.pipeline.frames import FrameChanged, FrameDamaged, FrameMissing, FrameUnavailable, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.files import FileObjectStore, file_etag
from service.store.objects.object_store import ObjectChanged, ObjectStoreError, ObjectVersion
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.fetch.ranged_files import SOURCE_BLOCK_BYTES
from service.worker.fetch.readers import FetchStats, FileReader
from tests.support.servers.object_server import DAMAGES, FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, StoredFrames

SIZE = 50_000
STATUSES = ("302", "304", "400", "412", "416", "500", "503")
FAULTS = (*DAMAGES, *STATUSES, "truncated")
ReadObject = Callable[[FrameFetcher, FrameRef], bytes]


def read_frame(fetcher: FrameFetcher, ref: FrameRef) -> bytes:
    return fetcher.fetch(BUCKET, ref)


def read_source(fetcher: FrameFetcher, ref: FrameRef) -> bytes:
    with fetcher.source_opener(BUCKET).open(ref) as file:
        return file.read()


READS = pytest.mark.parametrize("read", [read_frame, read_source])


def results_of(fetcher: FrameFetcher, refs: list[FrameRef], read: ReadObject) -> list[bytes | Exception]:
    """All at the same time, because a lasting fault takes seconds: the bytes of each, or what was raised."""
    results: list[bytes | Exception] = [b""] * len(refs)

    def run(place: int) -> None:
        try:
            results[place] = read(fetcher, refs[place])
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(refs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@READS
def test_a_passing_fault_ends_in_the_right_bytes(
    server: FaultyObjectServer, fetcher: FrameFetcher, read: ReadObject
) -> None:
    """Those that say which server is wrong, and not the bytes, are told at once: the task is tried again."""
    size = SIZE if read is read_frame else SOURCE_BLOCK_BYTES + SIZE
    datas = [os.urandom(size) for _ in FAULTS]
    refs = [FrameRef(0, fault, server.put(fault, data), size) for fault, data in zip(FAULTS, datas, strict=True)]
    server.faults = {fault: [fault] for fault in FAULTS}
    # A part that is flipped has no digest of its own: see the next test.
    unseen = {"flipped"} if read is read_source else set()
    for fault, data, result in zip(FAULTS, datas, results_of(fetcher, refs, read), strict=True):
        if fault in ("302", "400"):
            assert isinstance(result, ObjectStoreError), fault
        elif fault not in unseen:
            assert result == data, (fault, result if isinstance(result, Exception) else len(result))


@READS
def test_a_lasting_fault_has_a_name(server: FaultyObjectServer, fetcher: FrameFetcher, read: ReadObject) -> None:
    good = FrameRef(0, "good", server.put("good", b"good"), 4)
    assert read_frame(fetcher, good) == b"good"
    faults = [fault for fault in FAULTS if read is read_frame or fault != "flipped"]
    refs = [FrameRef(0, fault, server.put(fault, os.urandom(SIZE)), SIZE) for fault in faults]
    server.faults = {fault: [fault] * 40 for fault in faults}
    found = dict(zip(faults, results_of(fetcher, refs, read), strict=True))
    # Headers that say nothing about a whole object; 200 with all of a small one.
    harmless = {"no range", "other range"} if read is read_frame else {"other status"}
    for fault, result in found.items():
        if fault in harmless:
            assert result == server.objects[fault], fault
        elif fault in ("of another", "412", "416") and not (fault == "416" and read is read_frame):
            assert isinstance(result, FrameChanged), (fault, result)
        elif fault == "flipped":
            assert isinstance(result, FrameDamaged), result
        else:
            assert isinstance(result, ObjectStoreError), (fault, result)
            assert "MINIO_ENDPOINT" in str(result)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_the_first_bytes_of_a_bucket_may_be_damaged(
    server: FaultyObjectServer, fetcher: FrameFetcher, times: int
) -> None:
    """The same wrong bytes again and again do not show that the ETags are no MD5, nor are later ones believed."""
    for name, flips in (("first", times), ("second", 1)):
        data = os.urandom(SIZE)
        ref = FrameRef(0, name, server.put(name, data), SIZE)
        server.faults = {name: ["flipped"] * flips}
        assert read_frame(fetcher, ref) == data, name
        assert server.request_counts[name] == flips + 1


def put_under_no_md5(server: FaultyObjectServer, number: int) -> FrameRef:
    server.put(f"{number}", os.urandom(100))
    server.extra_headers = {"ETag": f'"{number:032x}"'}
    return FrameRef(number, f"{number}", f"{number:032x}", 100)


def test_bytes_that_differ_from_every_md5_are_believed_and_said_once(
    server: FaultyObjectServer,
    fetcher: FrameFetcher,
    log_lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those of a bucket with keys of its owner: its ETags look like MD5 and are none."""
    monkeypatch.setattr("service.store.objects.s3_answers.DOUBT_S", 0.3)
    for number in range(3):
        ref = put_under_no_md5(server, number)
        assert read_frame(fetcher, ref) == server.objects[f"{number}"]
    assert server.request_counts["0"] > 2
    assert [server.request_counts[f"{number}"] for number in (1, 2)] == [1, 1]
    assert [line.get("bucket") for line in log_lines() if "no MD5" in line["event"]] == [BUCKET]


def test_one_md5_ends_the_belief_in_what_differs(
    server: FaultyObjectServer, fetcher: FrameFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.objects.s3_answers.DOUBT_S", 0.1)
    read_frame(fetcher, put_under_no_md5(server, 0))
    server.extra_headers = {}
    for fault in ([], ["flipped"]):
        data = os.urandom(SIZE)
        ref = FrameRef(0, "x", server.put("x", data), SIZE)
        server.faults = {"x": fault}
        assert read_frame(fetcher, ref) == data, fault


def test_a_part_that_is_all_of_an_object_is_compared(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    data = os.urandom(SIZE)
    ref = FrameRef(0, "x", server.put("x", data), SIZE)
    server.faults = {"x": ["flipped"]}
    assert read_source(fetcher, ref) == data


def test_bytes_under_a_key_of_the_server_are_not_compared(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    good = FrameRef(0, "good", server.put("good", b"good"), 4)
    assert read_frame(fetcher, good) == b"good", "in this bucket ETags are MD5"
    server.put("x", b"encrypted")
    server.extra_headers = {"ETag": f'"{7:032x}"', "x-amz-server-side-encryption": "aws:kms"}
    assert read_frame(fetcher, FrameRef(0, "x", f"{7:032x}", 9)) == b"encrypted"
    assert server.request_counts["x"] == 1


# Objects that change


@READS
@pytest.mark.parametrize("size", [SIZE, SIZE - 1, 2 * SIZE])
def test_an_object_that_was_replaced_is_not_shown(shelf: StoredFrames, read: ReadObject, size: int) -> None:
    ref = shelf.ref("x", os.urandom(SIZE))
    etag = shelf.put("x", os.urandom(size))
    with pytest.raises(FrameChanged) as caught:
        read(shelf.fetcher, ref)
    assert "changed since the scan: scan the dataset again" in caught.value.reason
    assert ref.etag in caught.value.reason
    assert etag in caught.value.reason or "unknown" in caught.value.reason


def test_read_ahead_tells_each_fault_at_its_turn(shelf: StoredFrames) -> None:
    refs = [shelf.ref(f"{n}", os.urandom(100), n) for n in range(4)]
    shelf.put("1", os.urandom(300))
    shelf.put("2", os.urandom(100))
    with shelf.fetcher.prefetch(BUCKET, refs) as reader:
        assert len(reader.read(refs[0])) == 100
        for ref in refs[1:3]:
            with pytest.raises(FrameChanged):
                reader.read(ref)
        assert len(reader.read(refs[3])) == 100


def test_an_object_that_comes_back_is_read(shelf: StoredFrames) -> None:
    data = os.urandom(100)
    ref = shelf.ref("x", data)
    shelf.put("x", os.urandom(100))
    with pytest.raises(FrameUnavailable):
        read_frame(shelf.fetcher, ref)
    back = shelf.ref("x", data)
    assert read_frame(shelf.fetcher, back) == data


class _WrittenDuringRead(FileObjectStore):
    """Somebody writes into each file between the check and the read, and puts the old time back afterwards."""

    overwrite: Callable[[Path], None]

    def open(self, ref: ObjectRef) -> BinaryIO:
        file, path, overwrite = super().open(ref), self.path(ref), self.overwrite

        class Written:
            fileno = file.fileno

            def seek(self, offset: int) -> int:
                overwrite(path)
                return file.seek(offset)

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def __enter__(self) -> "Written":
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

        return Written()  # type: ignore[return-value]


def _cut(path: Path) -> None:
    os.truncate(path, 10)


def _write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"new")


@pytest.mark.parametrize("overwrite", [_cut, _write])
@pytest.mark.parametrize("etag", ["noted", ""])
def test_a_file_that_is_written_to_while_it_is_read(
    tmp_path: Path, overwrite: Callable[[Path], None], etag: str
) -> None:
    store = _WrittenDuringRead(tmp_path, BUCKET)
    store.overwrite = overwrite
    path = store.path(ObjectRef(BUCKET, "x"))
    path.parent.mkdir()
    path.write_bytes(bytes(1000))
    os.utime(path, ns=(1, 1))
    reader = FileReader(store, FetchStats())
    version = ObjectVersion(ObjectRef(BUCKET, "x"), etag and file_etag(path.stat()), 1000)
    with pytest.raises(ObjectChanged):
        reader.submit(version, None, 10_000).result()
    reader.close()


def test_a_gap_and_a_gone_object_are_missing(shelf: StoredFrames) -> None:
    ref = FrameRef(0, "gone", "e", 5)
    for read in (read_frame, read_source):
        for missing in (ref, FrameRef(1, None)):
            with pytest.raises(FrameMissing):
                read(shelf.fetcher, missing)
    shelf.fetcher.max_frame_bytes = 3
    with pytest.raises(FrameUnreadable):
        read_frame(shelf.fetcher, shelf.ref("large", bytes(4)))
