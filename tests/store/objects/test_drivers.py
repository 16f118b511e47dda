"""The settings choose the driver."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import StartupError
from service.store.objects.drivers import open_object_store
from service.store.objects.files import FileObjectStore
from service.store.objects.s3 import S3ObjectStore
from service.store.settings import ObjectSettings


def test_the_environment_chooses_the_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MINIO_ENDPOINT", "MINIO_PUBLIC_ENDPOINT", "MINIO_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(open_object_store(ObjectSettings(), tmp_path), FileObjectStore)
    monkeypatch.setenv("MINIO_ENDPOINT", "minio:9000")
    monkeypatch.setenv("MINIO_ACCESS_KEY", "k")
    monkeypatch.setenv("MINIO_SECRET_KEY", "tell-nobody")
    read = ObjectSettings()
    assert isinstance(open_object_store(read, tmp_path), S3ObjectStore)
    assert read.endpoint_url == "http://minio:9000"
    assert read.bucket == "reelmill"
    assert "tell-nobody" not in repr(read)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"access_key": None}, "MINIO_ACCESS_KEY"),
        ({"secret_key": None}, "MINIO_SECRET_KEY"),
        ({"endpoint": "http://user:tell-nobody@minio"}, "MINIO_ENDPOINT"),
        ({"endpoint": "ftp://minio"}, "MINIO_ENDPOINT"),
        ({"endpoint": "http://minio:port"}, "MINIO_ENDPOINT"),
        ({"public_endpoint": "https://"}, "MINIO_PUBLIC_ENDPOINT"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    given = {"endpoint": "minio:9000", "access_key": "k", "secret_key": SecretStr("tell-nobody")}
    with pytest.raises(StartupError, match=named) as told:
        open_object_store(ObjectSettings.model_construct(**(given | changes)), tmp_path)
    assert "tell-nobody" not in str(told.value)


@pytest.mark.parametrize("target", ["reelmill", "reelmill/renders", ".", "..", ".tmp", "/"])
def test_the_folder_of_a_source_cannot_lead_to_our_own_objects(target: str, tmp_path: Path) -> None:
    settings = ObjectSettings.model_construct(sources="camera=alice")
    root = tmp_path / "objects"
    (root / "reelmill" / "renders").mkdir(parents=True)
    (tmp_path / "frames").mkdir()
    link = root / "camera"
    link.symlink_to(tmp_path / "frames")
    open_object_store(settings, tmp_path)
    link.unlink()
    link.symlink_to(root / target)
    with pytest.raises(StartupError, match="MINIO_SOURCES"):
        open_object_store(settings, tmp_path)
