"""Commands that look after the database and the bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import FAILED, LEFT_OUT, errors_to_exit_codes, exit_with


@app.command()
def fsck(
    fix: Annotated[bool, typer.Option("--fix", help="repair what differs")] = False,
    sample: Annotated[int, typer.Option(help="cached segments that are read and compared", min=0)] = 50,
    max_share: Annotated[
        float, typer.Option(help="the largest share of all objects that a repair may delete", min=0, max=1)
    ] = 0.2,
) -> None:
    """Compare the bucket with the database: orphans, lost files, digests by sample. Exit code 1 if they differ."""
    from service.commands.fsck import TooMuchToDelete, run_fsck
    from service.store.objects.object_store import ObjectStoreError

    with errors_to_exit_codes():
        try:
            clean = run_async(run_fsck(config.load(), fix=fix, sample=sample, max_share=max_share))
        except (TooMuchToDelete, ObjectStoreError) as error:
            exit_with(str(error), FAILED)
        if not clean:
            raise typer.Exit(FAILED)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="the file to write, which does not exist yet", dir_okay=False)],
    objects: Annotated[
        Literal["own", "all", "none"],
        typer.Option(
            help="own: uploads and files of renders; all: cached segments and previews, too; none: only a list"
        ),
    ] = "own",
) -> None:
    """Write the database and its objects into one file. The service may run meanwhile.

    The exit code is 65 if objects that the database names could not be read.
    """
    from service.commands.backup import run_backup

    with backup_errors_to_exit_codes():
        if not run_async(run_backup(config.load(), file, objects)):
            raise typer.Exit(LEFT_OUT)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="a file that `reelmill backup` wrote", exists=True, dir_okay=False)],
) -> None:
    """Restore a backup into an empty database and an empty bucket. Nothing is changed if that is not possible.

    The exit code is 65 if objects of a backup without bytes are not in the bucket.
    """
    from service.commands.backup import run_restore

    with backup_errors_to_exit_codes():
        if not run_async(run_restore(config.load(), file)):
            raise typer.Exit(LEFT_OUT)


@contextmanager
def backup_errors_to_exit_codes() -> Iterator[None]:
    """Also what a backup, its file, or the object store says."""
    from service.store.backup.archive import BackupError
    from service.store.objects.object_store import ObjectStoreError

    with errors_to_exit_codes():
        try:
            yield
        except (BackupError, ObjectStoreError) as error:
            exit_with(str(error), FAILED)
