"""Identifiers: one NewType per entity. They are UUIDv7, so that rows sort by creation time."""

import os
import time
import uuid
from typing import NewType

DatasetId = NewType("DatasetId", uuid.UUID)
RenderId = NewType("RenderId", uuid.UUID)
TaskId = NewType("TaskId", uuid.UUID)
Subject = NewType("Subject", str)


def new_uuid() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
