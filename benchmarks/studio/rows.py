"""Much to look at, made fast: a long dataset of few files, and many renders that are copies of one."""

from pathlib import Path
from uuid import uuid4

from benchmarks.reelmill import Reelmill

# Each row is the one it is copied from, but for the fields that are given.
COPY_DATASET = """
    INSERT INTO datasets SELECT (jsonb_populate_record(d, jsonb_build_object(
        'id', $2::text, 'name', 'long', 'prefix', $3::text, 'frame_count', $4::bigint, 'digest', $2::text,
        'bytes', d.bytes / d.frame_count * $4, 'gaps', '[]'::jsonb, 'gap_frames', 0))).*
    FROM datasets d WHERE d.id = $1::uuid
"""
COPY_FRAMES = """
    INSERT INTO frames SELECT (jsonb_populate_record(f, jsonb_build_object(
        'dataset_id', $2::text, 'index', n, 'number', n, 'key', $3::text || lpad(n::text, 7, '0') || '.tif'))).*
    FROM generate_series(0, $4::bigint - 1) n
    JOIN frames f ON f.dataset_id = $1::uuid AND f.index = n % (SELECT frame_count FROM datasets WHERE id = $1::uuid)
"""
SELECT_KEYS = "SELECT key FROM frames WHERE dataset_id = $1::uuid ORDER BY index"
COPY_RENDER = """
    INSERT INTO renders SELECT (jsonb_populate_record(r, jsonb_build_object(
        'id', gen_random_uuid(), 'render_key', 'copy ' || n, 'created_at', r.created_at - make_interval(secs => n)))).*
    FROM renders r, generate_series(1, $2::integer) n WHERE r.id = $1::uuid
"""


def add_long_dataset(reelmill: Reelmill, frames: int) -> str:
    """A dataset of so many frames, each an object of its own: hard links to those of the benchmark's dataset.

    Its rows are those that a scan of these files had found. Returns its id."""
    source, dataset = reelmill.dataset["id"], str(uuid4())
    prefix = f"frames/{reelmill.dataset['experiment_id']}/{dataset}/"
    store = reelmill.settings.process.home / "objects" / reelmill.settings.objects.bucket
    connection, run = reelmill.connection, reelmill.runner.run
    files = [store / row["key"] for row in run(connection.fetch(SELECT_KEYS, source))]
    _link(files, store / prefix, frames)
    run(connection.execute(COPY_DATASET, source, dataset, prefix, frames))
    run(connection.execute(COPY_FRAMES, source, dataset, prefix, frames))
    run(connection.execute("ANALYZE frames"))
    return dataset


def _link(files: list[Path], folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:07d}.tif").hardlink_to(files[number % len(files)])


def add_renders(reelmill: Reelmill, job: str, count: int) -> None:
    """So many finished renders beside this one, with its poster."""
    reelmill.runner.run(reelmill.connection.execute(COPY_RENDER, job, count))
    reelmill.runner.run(reelmill.connection.execute("ANALYZE renders"))
