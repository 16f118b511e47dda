"""Uploads of many files in one archive, with a real database and a folder of objects."""

import tarfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.routers.catalog.bundles import MAX_BUFFERED_BYTES, MAX_FILES, MAX_HEADER_BYTES
from service.store.settings import StorageLimits
from tests.support.data.archives import END, archive, extended_header, member, record
from tests.support.data.media import jpeg, numbered_picture
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
LIMIT, QUOTA = 5 * 1024 * 1024, 10_000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    """For all tests of this file."""
    limits = StorageLimits.model_construct(owner_quota=f"{QUOTA}B,alice=none")
    settings: dict[str, Any] = {"storage": limits, "sources": "camera=alice", "max_upload_bytes": LIMIT}
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home"), **settings) as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice") as client:
        yield client


async def create_dataset(client: httpx.AsyncClient, **place: str) -> dict[str, Any]:
    experiment = (await client.post("/api/experiments", json={"name": f"run {uuid4()}"})).json()["id"]
    made = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera", **place})
    assert made.is_success, made.text
    return dict(made.json()["dataset"])


async def area(client: httpx.AsyncClient) -> str:
    return f"/api/datasets/{(await create_dataset(client))['id']}"


async def send(client: httpx.AsyncClient, dataset: str, body: Any, **headers: str) -> httpx.Response:
    return await client.post(
        f"{dataset}/objects", content=body, headers={"Content-Type": "application/x-tar"} | headers
    )


async def in_pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Without a Content-Length."""
    for part in parts:
        yield part


async def listed(client: httpx.AsyncClient, dataset: str) -> dict[str, int]:
    return {entry["name"]: entry["size"] for entry in (await client.get(f"{dataset}/objects")).json()}


async def uploaded(client: httpx.AsyncClient) -> int:
    """Bytes that count; no upload is under way."""
    usage = (await client.get("/api/usage")).json()
    assert usage["announced_bytes"] == 0
    return int(usage["uploads_bytes"])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_round_trip(api: CatalogueApi, alice: httpx.AsyncClient, form: int) -> None:
    picture = jpeg(numbered_picture(1))
    files = {f"day {number % 3}/frame é{number:05}.jpg": picture + bytes([number % 256]) for number in range(300)}
    files |= {"empty": b"", "large.bin": bytes(MAX_BUFFERED_BYTES * 3), f"{'long ' * 30}/{'name' * 24}.jpg": b"1"}
    dataset, before = await create_dataset(alice), await uploaded(alice)
    path = f"/api/datasets/{dataset['id']}"
    response = await send(alice, path, archive(files, form))
    assert response.status_code == 200, response.text
    answered = response.json()
    assert [each["name"] for each in answered] == list(files)
    details = (await alice.get(f"{path}/objects", params={"details": True})).json()
    etags = {each["name"]: each["etag"] for each in details}
    folder = api.objects.root / "reelmill" / dataset["prefix"]
    for each in answered:
        name = each["name"]
        assert each == {"name": name, "size": len(files[name]), "etag": etags[name]}
        assert (folder / name).read_bytes() == files[name], name
    assert len(details) == len(files)
    assert await uploaded(alice) - before == sum(map(len, files.values()))


async def test_a_body_in_pieces_and_the_names_of_tar(alice: httpx.AsyncClient) -> None:
    """`tar -cf - .` begins every name with a dot, and lists the folders."""
    dataset = await area(alice)
    whole = member(".", type=tarfile.DIRTYPE) + member("./a", type=tarfile.DIRTYPE) + member("./a/b.jpg", b"12") + END
    response = await send(
        alice, dataset, in_pieces(*(whole[start : start + 100] for start in range(0, len(whole), 100)))
    )
    assert [each["name"] for each in response.json()] == ["a/b.jpg"], response.text
    assert await listed(alice, dataset) == {"a/b.jpg": 2}


async def test_an_archive_of_nothing(alice: httpx.AsyncClient) -> None:
    response = await send(alice, await area(alice), END)
    assert (response.status_code, response.json()) == (200, [])


async def test_of_files_of_one_name_the_last_one_stays(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)
    versions = [bytes([version]) * 1000 for version in range(20)]
    body = b"".join(member("a.jpg", data) for data in versions) + END
    answered = (await send(alice, f"/api/datasets/{dataset['id']}", body)).json()
    assert len(answered) == 20 and len({each["etag"] for each in answered}) == 20
    assert (api.objects.root / "reelmill" / dataset["prefix"] / "a.jpg").read_bytes() == versions[-1]


REFUSED = {
    "an absolute name": (member("/etc/passwd", b"x"), 422, "must not be empty"),
    "a name that leads out": (member("../../x", b"x"), 422, "'..'"),
    "a name through a parent": (member("a/../b", b"x"), 422, "'..'"),
    "a name with a line feed": (extended_header(record(b"path", b"a\nb")) + member("a", b"x"), 422, "control characters"),
    "a name with NUL": (extended_header(record(b"path", b"a\0b")) + member("a", b"x"), 422, "control characters"),
    "a backslash": (member("a\\b", b"x"), 422, "backslashes"),
    "a name not in UTF-8": (member("caf\udce9.jpg", b"x", tarfile.USTAR_FORMAT), 422, "not in UTF-8"),
    "a long name": (member("x" * 20_000, b"x"), 422, "longer than"),
    "a link": (member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"), 422, "a link is not stored"),
    "a hard link": (member("a", type=tarfile.LNKTYPE, linkname="b"), 422, "a link is not stored"),
    "a device": (member("a", type=tarfile.CHRTYPE), 422, "a device is not stored"),
    "a pipe": (member("a", type=tarfile.FIFOTYPE), 422, "a pipe is not stored"),
    "a sparse file": (extended_header(record(b"GNU.sparse.major", b"1")) + member("a", b"x"), 422, "a sparse file is not"),
    "a file longer than may be": (member("a", bytes(LIMIT + 1)), 413, f"at most {LIMIT} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
async def test_one_refused_file_keeps_no_other_from_being_stored(alice: httpx.AsyncClient, kind: str) -> None:
    data, status, reason = REFUSED[kind]
    dataset = await area(alice)
    response = await send(alice, dataset, member("before.jpg", b"12") + data + member("after.jpg", b"123") + END)
    assert response.status_code == 200, response.text
    before, refused, after = response.json()
    assert (before["name"], before["size"], after["name"], after["size"]) == ("before.jpg", 2, "after.jpg", 3)
    assert (refused["problem"]["status"], refused.keys()) == (status, {"name", "problem"})
    assert reason in refused["problem"]["detail"] and len(refused["name"]) <= 1000
    assert await listed(alice, dataset) == {"before.jpg": 2, "after.jpg": 3}


BROKEN = {
    "cut": (member("c.jpg", bytes(3000))[:-600], 400, "breaks off within c.jpg"),
    "without an end": (b"", 400, "its end is missing"),
    "other bytes": (b"\xff\xd8" * 1000, 400, "no tar archive"),
    "an endless size": (member("c.jpg", size=8**11 - 1), 400, None),
    "a pax bomb": (extended_header(bytes(10**6)) + END, 400, "extended header has 1000000 bytes"),
    "pax before pax": (extended_header(b"") * 3000 + END, 400, "extended headers"),
    "many members": (member("a.jpg") * MAX_FILES + END, 413, f"at most {MAX_FILES} members"),
    "many folders": (member("a", type=tarfile.DIRTYPE) * MAX_FILES + END, 413, f"at most {MAX_FILES} members"),
    "more bytes than may be": (bytes(LIMIT + MAX_HEADER_BYTES), 413, "may have at most"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_was_stored_before_the_body_broke_off_stays(alice: httpx.AsyncClient, kind: str) -> None:
    data, status, reason = BROKEN[kind]
    dataset = await area(alice)
    response = await send(alice, dataset, in_pieces(member("a.jpg", b"1") + member("b.jpg", b"12"), data))
    problem = response.json()
    assert response.status_code == status, response.text
    assert f"{problem['stored_files']} files before that are stored" in problem["detail"]
    assert reason is None or reason in problem["detail"]
    stored = await listed(alice, dataset)
    assert stored.keys() == {"a.jpg", "b.jpg"} and problem["stored_files"] in (2, MAX_FILES)
    assert await uploaded(alice) >= 3


async def test_no_archive_at_all(alice: httpx.AsyncClient) -> None:
    dataset = await area(alice)
    for body in (b"", b"{}", jpeg(numbered_picture(1)), b"\x1f\x8b" + bytes(1000)):
        response = await send(alice, dataset, body)
        assert (response.status_code, response.json()["stored_files"]) == (400, 0), response.text
    announced = await send(alice, dataset, b"x" * (LIMIT + MAX_HEADER_BYTES + 1))
    assert announced.status_code == 413 and await listed(alice, dataset) == {}


async def test_a_client_that_leaves(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset, before = await area(alice), await uploaded(alice)
    sent = [member("a.jpg", bytes(100)), member("b.jpg", bytes(2000))[:-700]]
    headers = [(b"authorization", alice.headers["Authorization"].encode()), (b"content-length", b"99999")]
    scope = {"type": "http", "method": "POST", "path": f"{dataset}/objects", "raw_path": b"", "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": None}
    statuses = []

    async def receive() -> dict[str, Any]:
        if sent:
            return {"type": "http.request", "body": sent.pop(0), "more_body": True}
        return {"type": "http.disconnect"}

    async def answer(message: Any) -> None:
        statuses.append(message.get("status"))

    await api.app(scope, receive, answer)
    assert statuses[0] == 400 and await listed(alice, dataset) == {"a.jpg": 100}
    assert await uploaded(alice) - before == 100


async def test_files_that_fit_into_the_quota_are_stored(api: CatalogueApi) -> None:
    async with api.client("bob") as bob:
        dataset, sizes = await area(bob), (3000, 3000, 3000, 3000, 800, 900, 200)
        answered = (
            await send(bob, dataset, archive({str(size): bytes(length) for size, length in enumerate(sizes)}))
        ).json()
        assert [each["name"] for each in answered if "problem" in each] == ["3", "5"]
        assert await listed(bob, dataset) == {"0": 3000, "1": 3000, "2": 3000, "4": 800, "6": 200}
        problem = answered[3]["problem"]
        assert (problem["status"], problem["type"]) == (409, "/problems/quota-exceeded")
        assert await uploaded(bob) == QUOTA


async def test_a_dataset_that_is_deleted_meanwhile(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)
    path = f"/api/datasets/{dataset['id']}"

    async def body() -> AsyncIterator[bytes]:
        yield member("a.jpg", b"1") + member("b.jpg", b"2")
        (await alice.delete(path)).raise_for_status()
        yield member("c.jpg", b"3") + END

    response = await send(alice, path, body())
    assert response.status_code == 404 and "nothing is kept" in response.json()["detail"], response.text
    assert [key async for page in api.objects.list("reelmill", dataset["prefix"]) for key in page] == []


async def test_a_file_that_the_store_does_not_take(alice: httpx.AsyncClient) -> None:
    """In a folder, no object can be stored below another."""
    dataset = await area(alice)
    first, below, last = (await send(alice, dataset, archive({"a": b"1", "c": b"2"}))).json()[0], "a/b", "d"
    answered = (await send(alice, dataset, archive({below: b"1", last: b"2"}))).json()
    assert first["size"] == 1 and answered[0]["problem"]["status"] == 503 and answered[1]["size"] == 1
    assert (await listed(alice, dataset)).keys() == {"a", "c", "d"}


async def test_a_store_that_takes_nothing(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await area(alice)
    temporary = api.objects.root / ".tmp"
    temporary.rmdir()
    temporary.write_bytes(b"no folder")
    response = await send(alice, dataset, archive({f"{number}.jpg": b"1" for number in range(200)}))
    temporary.unlink()
    assert response.status_code == 503 and "object store" in response.json()["detail"], response.text


async def test_who_may_upload_where(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    elsewhere = await create_dataset(alice, bucket="camera", prefix="day/")
    refused = await send(alice, f"/api/datasets/{elsewhere['id']}", archive({"a.jpg": b"1"}))
    assert refused.status_code == 409
    dataset = await area(alice)
    async with api.client("eve") as eve, api.client("alice", "catalog:read") as reader:
        assert (await send(eve, dataset, archive({"a.jpg": b"1"}))).status_code == 404
        assert (await send(reader, dataset, archive({"a.jpg": b"1"}))).status_code == 403
        assert await listed(alice, dataset) == {}
