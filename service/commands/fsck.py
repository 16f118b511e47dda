"""`reelmill fsck`: compare the bucket with the database, and repair what differs."""

from collections.abc import Sequence

from rich.console import Console

from service.config import Settings
from service.processes.startup import open_shared_state
from service.store.consistency.comparison import MAX_EXAMPLES, Report, check_consistency, repair
from service.store.consistency.rounds import record_comparison

console = Console(soft_wrap=True, highlight=False)


class TooMuchToDelete(Exception):
    """A repair would delete more than it may: the settings may name the wrong database or bucket."""


async def run_fsck(settings: Settings, *, fix: bool, sample: int, max_share: float) -> bool:
    """Print what was found; whether nothing is left to repair. Raises TooMuchToDelete, StartupError."""
    state = await open_shared_state(settings)
    try:
        report = await check_consistency(state.database, state.objects, sample)
        _print_report(report)
        if report.is_clean or not fix:
            await record_comparison(state.database, report, repaired=False)
            return report.is_clean
        if report.orphan_share > max_share:
            raise TooMuchToDelete(
                f"{report.orphan_share:.0%} of the objects belong to nothing, more than --max-share {max_share:.0%} "
                "allows: check DATABASE_URL and MINIO_BUCKET, then allow more if this is right"
            )
        await repair(state.database, state.objects, report)
        await record_comparison(state.database, report, repaired=True)
    finally:
        await state.close()
    console.print("repaired: workers delete the orphans and make lost files again", markup=False)
    return True


def _print_report(report: Report) -> None:
    console.print(f"{report.objects} objects, {report.bytes} bytes; {report.sampled} digests compared", markup=False)
    orphans = f"{report.orphan_objects} objects belong to nothing, {sum(report.orphans.values())} bytes"
    _print_finding(orphans, list(report.orphans))
    _print_finding(f"{len(report.lost_segments)} cached segments are gone", report.lost_segments)
    _print_finding(f"{len(report.damaged_segments)} cached segments are damaged", report.damaged_segments)
    lost = [key for keys in report.lost_files.values() for key in keys]
    _print_finding(f"{len(lost)} files of renders are gone", lost)
    unfinished = [f"{upload.key} (since {upload.started:%Y-%m-%d %H:%M})" for upload in report.unfinished]
    _print_finding(f"{len(unfinished)} uploads began more than a day ago and never ended", unfinished)
    _print_finding(f"{len(report.foreign)} objects were not written by Reelmill (left alone)", report.foreign)
    if report.is_clean:
        console.print("bucket and database fit together", markup=False)


def _print_finding(words: str, examples: Sequence[str]) -> None:
    if examples:
        console.print(words, style="red", markup=False)
        for example in examples[:MAX_EXAMPLES]:
            console.print(f"  {example}", markup=False)
        if len(examples) > MAX_EXAMPLES:
            console.print(f"  … and {len(examples) - MAX_EXAMPLES} more", markup=False)
