"""Steps that clients of the API take in many tests."""

import json
import time
import uuid
from typing import Any

import httpx

from tests.support.patience import PATIENCE_S


def make_dataset(client: httpx.Client, files: dict[str, bytes], kind: str = "frames") -> dict[str, Any]:
    """A scanned dataset (ready or failed) in a new experiment."""
    experiment = client.post("/api/experiments", json={"name": f"e-{uuid.uuid4()}"}).raise_for_status().json()
    path = f"/api/experiments/{experiment['id']}/datasets"
    dataset = client.post(path, json={"name": "d", "kind": kind}).raise_for_status().json()["dataset"]
    for name, data in files.items():
        client.put(f"/api/datasets/{dataset['id']}/objects/{name}", content=data).raise_for_status()
    client.post(f"/api/datasets/{dataset['id']}/scan").raise_for_status()
    return wait_until_scanned(client, dataset["id"])


def wait_until_scanned(client: httpx.Client, dataset: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"/api/datasets/{dataset}").raise_for_status().json()
        if found["state"] in ("ready", "failed"):
            return found
        time.sleep(0.05)
    raise TimeoutError(found)


def render(client: httpx.Client, dataset: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Submit a render and wait for its end; returns the final status."""
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30} | fields
    job = client.post("/api/videos/generate", json=body).raise_for_status().json()
    return wait_until_ended(client, job["job_id"])


def wait_until_ended(client: httpx.Client, job: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status: dict[str, Any] = client.get(f"/api/videos/{job}").raise_for_status().json()
        if status["status"] in ("succeeded", "failed", "cancelled"):
            return status
        time.sleep(0.05)
    raise TimeoutError(status)


def receipt_lines(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    """The receipt's lines without the summary."""
    lines = client.get(f"/api/videos/{job}/receipt").raise_for_status().text.splitlines()
    return [json.loads(line) for line in lines[:-1]]
