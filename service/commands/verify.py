"""`reelmill verify`: check a video against its receipt and list the differences."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
# The rest is only counted.
MAX_FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """The parsed receipt: one entry per planned frame, and the summary at the end."""

    lines: list[dict[str, Any]]
    summary: dict[str, Any]


class ReceiptError(Exception):
    """The file is not a render receipt; the text says why."""


def read_receipt(path: Path) -> Receipt:
    """Parse a receipt (NDJSON). Raises ReceiptError."""
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ReceiptError(f"line {number} is not JSON") from error
        if not isinstance(entry, dict):
            raise ReceiptError(f"line {number} is not a JSON object")
        lines.append(entry)
    if not lines or not isinstance(lines[-1].get("summary"), dict):
        raise ReceiptError("it does not end with a summary: it is truncated, or not a receipt")
    return Receipt(lines[:-1], lines[-1]["summary"])


def verify_video(video: Path, receipt_path: Path) -> tuple[bool, list[str]]:
    """Whether the video matches its receipt, and the lines to print: a confirmation, or the differences."""
    try:
        receipt = read_receipt(receipt_path)
    except ReceiptError as error:
        return False, [f"receipt: {error}"]
    if found := find_faults(video, receipt):
        rest = [f"and {len(found) - MAX_FAULTS_SHOWN} more"] if len(found) > MAX_FAULTS_SHOWN else []
        return False, found[:MAX_FAULTS_SHOWN] + rest
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(receipt.summary["outcomes"].items()))
    return True, [f"{video} matches this receipt: {receipt.summary['frames']} frames ({outcomes})"]


def find_faults(video: Path, receipt: Receipt) -> list[str]:
    """Every difference between the video and its receipt, and within the receipt, as text."""
    return [*find_line_faults(receipt), *find_summary_faults(receipt), *find_file_faults(video, receipt.summary)]


def find_line_faults(receipt: Receipt) -> list[str]:
    """Faults of single lines: gaps in the numbering, sources out of order, outcomes without their details."""
    found, expected, last = [], 0, -1
    for number, entry in enumerate(receipt.lines, 1):
        output, source = entry.get("output"), entry.get("source")
        if output is not None and output != expected:
            found.append(f"line {number}: output frame {output} instead of {expected}")
        if not isinstance(source, int) or source <= last:
            found.append(f"line {number}: source frame {source} does not come after {last}")
        found += [f"line {number}: {fault}" for fault in _find_entry_faults(entry)]
        expected += output is not None
        last = source if isinstance(source, int) else last
    return found


def _find_entry_faults(entry: dict[str, Any]) -> list[str]:
    outcome, found = entry.get("outcome"), []
    if not isinstance(outcome, str):
        return ["no outcome"]
    if (outcome == "skipped") != (entry.get("output") is None):
        found.append(f"{outcome}, but output is {entry.get('output')}")
    if outcome in ("held", "black", "skipped") and not entry.get("reason"):
        found.append(f"{outcome} without a reason")
    if (outcome == "held") != (entry.get("substituted_from") is not None):
        found.append(f"{outcome}, but substituted_from is {entry.get('substituted_from')}")
    digest = entry.get("sha256")
    if digest is not None and not SHA256_PATTERN.fullmatch(str(digest)):
        found.append("sha256 is not a digest")
    shown = entry.get("members") or [entry]
    return found + [
        "ok without a source object" for each in shown if each.get("outcome") == "ok" and not each.get("key")
    ]


def find_summary_faults(receipt: Receipt) -> list[str]:
    """Differences between the summary and the lines."""
    summary, found = receipt.summary, []
    shown = sum(entry.get("output") is not None for entry in receipt.lines)
    if summary.get("frames") != shown:
        found.append(f"summary: {summary.get('frames')} frames, but the lines have {shown}")
    counted = dict(Counter(str(entry.get("outcome")) for entry in receipt.lines))
    if summary.get("outcomes") != counted:
        found.append(f"summary: outcomes are {summary.get('outcomes')}, but the lines have {counted}")
    return found


def find_file_faults(video: Path, summary: dict[str, Any]) -> list[str]:
    """Differences between the file and the summary: size, digest, and the decoded frames."""
    found, size = [], video.stat().st_size
    if summary.get("bytes") != size:
        found.append(f"video: {size} bytes, the receipt says {summary.get('bytes')}")
    with video.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if summary.get("sha256") != digest:
        found.append(f"video: sha256 is {digest}, the receipt says {summary.get('sha256')}")
    return found + _find_picture_faults(video, summary)


def _find_picture_faults(video: Path, summary: dict[str, Any]) -> list[str]:
    import av

    count, sizes = 0, set()
    try:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                count += 1
                sizes.add((frame.width, frame.height))
    except (av.FFmpegError, IndexError) as error:
        return [f"video: decoding fails after {count} frames: {error}"]
    found = []
    if count != summary.get("frames"):
        found.append(f"video: {count} decodable frames, the receipt says {summary.get('frames')}")
    if sizes - {(summary.get("width"), summary.get("height"))}:
        expected = f"{summary.get('width')}x{summary.get('height')}"
        actual = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        found.append(f"video: frames of {actual}, the receipt says {expected}")
    return found
