"""`reelmill backup` and `reelmill restore`: the database and the objects in one file, and back on an empty machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn

from service.config import Settings
from service.processes.startup import open_shared_state
from service.store.backup.archive import Archive
from service.store.backup.creation import create_backup
from service.store.backup.objects import LeftOut, Selection
from service.store.backup.restoration import restore_backup
from service.store.backup.tables import require_known_schema

console = Console(soft_wrap=True, highlight=False)


async def run_backup(settings: Settings, path: Path, selection: Selection) -> bool:
    """Print what the backup has; whether all that the database names is in it.

    Raises BackupError, ObjectStoreError, StartupError.
    """
    state = await open_shared_state(settings, migrated=False)
    try:
        with _show_progress() as on_progress:
            backup = await create_backup(state.database, state.objects, path, selection, on_progress)
    finally:
        await state.close()
    manifest = backup.manifest
    rows = sum(table.rows for table in manifest.tables.values())
    what = "listed, without their bytes" if selection == "none" else f"{manifest.object_bytes} bytes"
    _print(f"{path}: {rows} rows of {len(manifest.tables)} tables; {manifest.object_count} objects, {what}")
    _print("it has signing keys and the secrets of webhooks: keep it where nobody else can read it")
    return _print_left_out("are not in it", backup.left_out)


async def run_restore(settings: Settings, path: Path) -> bool:
    """Check the backup, restore it and print what is there; whether all its objects are.

    Raises BackupError, ObjectStoreError, StartupError. Then nothing is restored.
    """
    archive = Archive(path)
    try:
        require_known_schema(archive.manifest)
        with _show_progress() as on_progress:
            for position in archive.verify():
                on_progress("bytes checked", position)
            state = await open_shared_state(settings, migrated=False)
            try:
                restored = await restore_backup(state.database, state.objects, archive, on_progress)
            finally:
                await state.close()
    finally:
        archive.close()
    manifest = archive.manifest
    rows = sum(table.rows for table in manifest.tables.values())
    _print(f"restored as of {manifest.created_at}: {rows} rows, {manifest.object_count} objects")
    if restored.changed_etags:
        _print(f"{restored.changed_etags} objects have another ETag here: the rows have it, too")
    return _print_left_out("are missing: `reelmill fsck --fix` makes lost files of renders again", restored.left_out)


@contextmanager
def _show_progress() -> Iterator[Callable[[str, int], None]]:
    """One line, only on a terminal."""
    with Progress(TextColumn("{task.completed} {task.description}"), console=console, transient=True) as bar:
        line = bar.add_task("objects", total=None)
        yield lambda phase, done: bar.update(line, description=phase, completed=done)


def _print_left_out(what: str, left_out: LeftOut) -> bool:
    """Whether nothing was left out."""
    if left_out.count:
        console.print(f"{left_out.count} objects {what}", style="red", markup=False)
        for example in left_out.examples:
            _print(f"  {example}")
        if left_out.count > len(left_out.examples):
            _print(f"  … and {left_out.count - len(left_out.examples)} more")
    return not left_out.count


def _print(text: str) -> None:
    console.print(text, markup=False)
