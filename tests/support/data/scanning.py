"""A whole scan in the process of the test: what a slot reads, and what the supervisor writes."""

from uuid import UUID

from service.store.database import Database
from service.store.objects.object_store import ObjectStore
from service.worker.scan.dataset import ProgressCallback, scan_objects
from service.worker.scan.store import ScanSummary
from service.worker.scan.watch import ObjectWatch
from service.worker.scan.writer import open_scan_writer


async def scan_dataset(
    database: Database, objects: ObjectStore, dataset: UUID, on_progress: ProgressCallback = lambda _: None
) -> ScanSummary:
    """See `scan_objects`. Nobody else may scan the dataset at the same time."""
    async with open_scan_writer(database, dataset) as writer:
        return await scan_objects(writer, objects, on_progress, ObjectWatch(lambda key: None))
