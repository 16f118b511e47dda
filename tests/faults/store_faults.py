"""What happens to objects: they are damaged, cut and lost where they lie; the store is away or full; and between us and
an S3 server a proxy does all that a network and a gateway can do."""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore
from tests.faults.scene import Disk, Faults, Scene
from tests.support.servers.s3_proxy import MODES

# renameat2(2)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
AWAY_S, FULL_S = 2.0, 3.0
SHARES = (0.3, 0.7, 1.0)
Change = Callable[[bytes], bytes]


def store_faults(scene: Scene) -> Faults:
    faults: Faults = {
        "damage a segment": lambda: _change(scene, "segments/", ".mp4", _flip),
        "cut a segment": lambda: _change(scene, "segments/", ".mp4", lambda data: data[: len(data) // 2]),
        "empty a segment": lambda: _change(scene, "segments/", ".mp4", lambda data: b""),
        "lose a segment": lambda: _change(scene, "segments/", ".mp4", None),
        "lose the receipt of a segment": lambda: _change(scene, "segments/", ".ndjson", None),
        "damage a video": lambda: _change(scene, "renders/", ".mp4", _flip),
        "lose a video": lambda: _change(scene, "renders/", ".mp4", None),
        "lose a receipt": lambda: _change(scene, "renders/", ".ndjson", None),
    }
    for name, disk in scene.disks.items():
        faults[f"the disk of {name} is full"] = lambda disk=disk: _fill(disk)
    if scene.proxy is None:
        return faults | {"the folder of objects is away": lambda: _move_away(scene)}
    return faults | {f"s3: {mode}": lambda mode=mode: _misbehave(scene, mode) for mode in MODES}


def _change(scene: Scene, prefix: str, suffix: str, change: Change | None) -> None:
    """Change a random object that has not been changed, or remove it. Raises IndexError if there is none.

    A render rightly fails when a segment is lost again after it was written again: the object store is to blame.
    """

    async def work(objects: ObjectStore) -> None:
        keys = [info.key async for page in objects.list(objects.bucket, prefix) for info in page]
        whole = [key for key in keys if key.endswith(suffix) and key.partition(".")[0] not in scene.changed]
        ref = ObjectRef(objects.bucket, scene.random.choice(whole))
        if prefix == "segments/":
            scene.changed.add(ref.key.partition(".")[0])
        if change is None:
            await objects.delete(ref)
        else:
            await objects.put(ref, change(await objects.get(ref)), "video/mp4")

    scene.with_objects(work)


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data


def _fill(disk: Disk) -> None:
    disk.fill()
    time.sleep(FULL_S)
    disk.empty()


def _move_away(scene: Scene) -> None:
    """As a file system that is not mounted: a file is where the folder should be."""
    folder = scene.up.home / "objects" / "reelmill"
    away = folder.with_name("away")
    away.write_text("not mounted")
    _exchange(away, folder)
    try:
        time.sleep(AWAY_S)
    finally:
        _exchange(away, folder)
        away.unlink()


def _exchange(one: Path, other: Path) -> None:
    """In one step, so that nobody makes the folder anew in between."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), f"{one} and {other} cannot change places")


def _misbehave(scene: Scene, mode: str) -> None:
    """For some requests of a moment. Nobody needs to have sent one that it concerns."""
    assert scene.proxy is not None
    scene.proxy.misbehave(mode, scene.random.choice(SHARES))
    try:
        time.sleep(scene.random.uniform(AWAY_S / 2, 2 * AWAY_S))
    finally:
        scene.proxy.behave()
