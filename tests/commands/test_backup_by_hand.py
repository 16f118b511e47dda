"""The commands of docs/backup.md for an outside PostgreSQL and bucket restore all of it on another server."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.embedded.cluster import find_binaries
from service.embedded.postgres import EmbeddedPostgres
from service.store.consistency.comparison import check_consistency
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.settings import DatabaseSettings
from tests.support.data.backups import all_rows, fill
from tests.support.servers.databases import fresh_database
from tests.support.source_code import ROOT

pytestmark = pytest.mark.anyio


def shell_lines() -> list[str]:
    text = (ROOT / "docs" / "backup.md").read_text()
    return [
        line.strip()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]


async def test_the_commands_of_the_page(postgres_url: str, tmp_path: Path) -> None:
    if not (find_binaries() / "pg_dump").exists():
        pytest.skip("this PostgreSQL has no pg_dump")
    objects = FileObjectStore(tmp_path / "objects", "reelmill")
    await objects.check()
    dump, *restore = shell_lines()
    with EmbeddedPostgres(tmp_path / "new") as new_url:
        async with fresh_database(postgres_url) as database:
            await fill(database, objects)
            before = await all_rows(database)
            run(dump, tmp_path, database.url, new_url)
            shutil.copytree(objects.root, tmp_path / "mirror")
        for line in restore:
            run(line, tmp_path, "", new_url)
        restored = Database(new_url, DatabaseSettings())
        assert len(restore) == 4 and await all_rows(restored) == before
        report = await check_consistency(restored, FileObjectStore(tmp_path / "mirror", "reelmill"))
        assert report.is_clean and report.objects
        await restored.close()


def run(line: str, folder: Path, old_url: str, new_url: str) -> None:
    environment = os.environ | {"DATABASE_URL": old_url, "NEW_DATABASE_URL": new_url}
    environment["PATH"] = f"{find_binaries()}:{environment['PATH']}"
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
