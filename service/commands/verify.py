"""`reelmill verify`: check a video against its receipt and list every difference."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
# Further ones are counted only.
MAX_FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it was read: one entry per planned frame, and the summary at its end."""

    lines: list[dict[str, Any]]
    summary: dict[str, Any]


class ReceiptError(Exception):
    """The file is not a render receipt; the text says why."""


def read_receipt(path: Path) -> Receipt:
    """Raises NoReceipt."""
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entry = json.loads(text)
        except ValueError as error:
            raise ReceiptError(f"line {number} is not JSON") from error
        if not isinstance(entry, dict):
            raise ReceiptError(f"line {number} is not a JSON object")
        lines.append(entry)
    if not lines or not isinstance(lines[-1].get("summary"), dict):
        raise ReceiptError("it does not end with a summary: it was cut off, or it is another file")
    return Receipt(lines[:-1], lines[-1]["summary"])


def find_faults(video: Path, receipt: Path) -> list[str]:
    """Everything that does not fit, in words; empty when all is well."""
    try:
        read = read_receipt(receipt)
    except ReceiptError as error:
        return [f"receipt: {error}"]
    return [*find_line_faults(read), *find_summary_faults(read), *find_file_faults(video, read.summary)]


def find_line_faults(receipt: Receipt) -> list[str]:
    """What is wrong with single lines: gaps in the numbering, order of the sources, outcomes without their facts."""
    found, expected, last = [], 0, -1
    for number, entry in enumerate(receipt.lines, 1):
        output, source = entry.get("output"), entry.get("source")
        if output is not None and output != expected:
            found.append(f"line {number}: output frame {output} where {expected} comes next")
        if not isinstance(source, int) or source <= last:
            found.append(f"line {number}: source frame {source} does not come after {last}")
        found += [f"line {number}: {fault}" for fault in _find_entry_faults(entry)]
        expected += output is not None
        last = source if isinstance(source, int) else last
    return found


def _find_entry_faults(entry: dict[str, Any]) -> list[str]:
    outcome, found = entry.get("outcome"), []
    if not isinstance(outcome, str):
        return ["it names no outcome"]
    if (outcome == "skipped") != (entry.get("output") is None):
        found.append(f"{outcome}, and output is {entry.get('output')}")
    if outcome in ("held", "black", "skipped") and not entry.get("reason"):
        found.append(f"{outcome} without a reason")
    if (outcome == "held") != (entry.get("substituted_from") is not None):
        found.append(f"{outcome}, and substituted_from is {entry.get('substituted_from')}")
    digest = entry.get("sha256")
    if digest is not None and not SHA256_PATTERN.fullmatch(str(digest)):
        found.append("sha256 is no digest")
    if outcome == "ok" and entry.get("key") is None:
        found.append("ok without a source object")
    return found


def find_summary_faults(receipt: Receipt) -> list[str]:
    """Whether the summary adds up to the lines."""
    summary, found = receipt.summary, []
    shown = sum(entry.get("output") is not None for entry in receipt.lines)
    if summary.get("frames") != shown:
        found.append(f"summary: {summary.get('frames')} frames, the lines show {shown}")
    counted = dict(Counter(str(entry.get("outcome")) for entry in receipt.lines))
    if summary.get("outcomes") != counted:
        found.append(f"summary: outcomes are {summary.get('outcomes')}, the lines have {counted}")
    return found


def find_file_faults(video: Path, summary: dict[str, Any]) -> list[str]:
    """Whether the file is the one that the summary describes: its bytes, and the pictures that a decoder finds."""
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
        return [f"video: after {count} frames it cannot be decoded any more: {error}"]
    found = []
    if count != summary.get("frames"):
        found.append(f"video: {count} frames can be decoded, the receipt says {summary.get('frames')}")
    if sizes - {(summary.get("width"), summary.get("height"))}:
        told = f"{summary.get('width')}x{summary.get('height')}"
        found.append(f"video: pictures of {', '.join(f'{w}x{h}' for w, h in sorted(sizes))}, the receipt says {told}")
    return found


def verify_video(video: Path, receipt: Path) -> tuple[bool, list[str]]:
    """Whether all fits, and what to print."""
    found = find_faults(video, receipt)
    if found:
        rest = [f"and {len(found) - MAX_FAULTS_SHOWN} more"] if len(found) > MAX_FAULTS_SHOWN else []
        return False, found[:MAX_FAULTS_SHOWN] + rest
    read = read_receipt(receipt)
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(read.summary["outcomes"].items()))
    return True, [f"{video} is the video of this receipt: {read.summary['frames']} frames ({outcomes})"]
