"""A slot process whose decoder dies, hangs or takes all memory at frames that say so: real processes, real deaths.

No known file does that to the decoders of today; the next one that does is handled like these."""

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from service.worker.slots.child import main
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import CodecConfig

CRASH, HANG, BALLOON = b"crash", b"hang", b"balloon"


def run(
    config: CodecConfig, connection: Connection, objects: Connection, parent_pid: int, current: CurrentItem
) -> None:
    from service.pipeline.images import decoder
    from service.worker.scan import images

    decode, probe = decoder.ImageDecoder.decode, images._probe_header

    def deadly_decode(self: Any, data: bytes) -> Any:
        act_on(data)
        return decode(self, data)

    def deadly_probe(data: bytes, *more: Any) -> Any:
        if b"at scan" in data:
            act_on(data)
        return probe(data, *more)

    decoder.ImageDecoder.decode = deadly_decode  # type: ignore[method-assign]
    images._probe_header = deadly_probe
    main(config, connection, objects, parent_pid, current)


def act_on(data: bytes) -> None:
    if data.endswith(CRASH):
        os.abort()
    if data.endswith(HANG):
        time.sleep(600)
    if data.endswith(BALLOON):
        bytearray(64 << 30)


def hang_at_the_start(*_arguments: object) -> None:
    """Instead of a codec process: one that is stopped before it has said that it is ready."""
    os.kill(os.getpid(), signal.SIGSTOP)
