"""Frames whose every sample is known, and requests for what is measured in them."""

import io
from typing import Any

import httpx
import numpy as np
import tifffile

from tests.routers.pictures.renders import ask_again, create_scanned_dataset
from tests.support.processes.catalogue_api import CatalogueApi

Array = np.ndarray[Any, Any]


def tiff(samples: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def ramp(kind: str, height: int = 150, width: int = 200) -> Array:
    """Another value in every pixel."""
    return (np.arange(height * width).reshape(height, width) * 2 - (0 if kind[0] == "u" else 7)).astype(kind)


async def create_frames(api: CatalogueApi, client: httpx.AsyncClient, files: dict[str, bytes], **more: str) -> str:
    """The address of the frames of a dataset of these files."""
    return f"/api/datasets/{(await create_scanned_dataset(api, client, files, **more))['id']}/frames"


async def ask(client: httpx.AsyncClient, address: str, **parameters: int) -> httpx.Response:
    return await ask_again(client, "GET", address, params=parameters)
