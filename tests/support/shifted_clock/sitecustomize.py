"""A process with this folder on its PYTHONPATH has a wall clock that is off by CLOCK_SHIFT_S seconds.

Python imports `sitecustomize` before anything else, so `from datetime import datetime` gets the shifted class, too."""

import datetime
import os
import time

SHIFT_S = float(os.environ.get("CLOCK_SHIFT_S", "0"))
_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime


class ShiftedDatetime(datetime.datetime):
    """What isinstance and pickle know as a datetime; only the clock differs."""

    @classmethod
    def now(cls, tz=None):  # type: ignore[no-untyped-def]
        return super().now(tz) + datetime.timedelta(seconds=SHIFT_S)

    @classmethod
    def utcnow(cls):  # type: ignore[no-untyped-def]
        return super().now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=SHIFT_S)


if SHIFT_S:
    time.time = lambda: _time() + SHIFT_S
    time.time_ns = lambda: _time_ns() + int(SHIFT_S * 1e9)
    time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
    time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
    datetime.datetime = ShiftedDatetime  # type: ignore[misc]
