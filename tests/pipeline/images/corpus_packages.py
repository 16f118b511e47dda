"""Source packages on the package index whose test suites ship images. Nothing of them is in this repository.

tifffile, rawpy and newer releases of imageio ship no images.
"""

import hashlib
import json
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
JSON = "application/vnd.pypi.simple.v1+json"


class SourcePackage(NamedTuple):
    """One release; `sha256` is that of its file."""

    project: str
    file: str
    sha256: str


PACKAGES = (
    SourcePackage("pillow", "pillow-13.0.0.tar.gz", "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510"),
    SourcePackage(
        "imagecodecs",
        "imagecodecs-2026.8.16.tar.gz",
        "03a6add9ad9ba61dce1520489fd090b1b5cf2a2701a9666d1ab8e7653278175f",
    ),
    SourcePackage(
        "scikit-image", "scikit_image-0.26.0.tar.gz", "f5f970ab04efad85c24714321fcc91613fcb64ef2a892a13167df2f3e59199fa"
    ),
    SourcePackage(
        "pillow-heif", "pillow_heif-1.8.1.tar.gz", "521ebffb8a181d56c3904e5a61f20903edee0d9d3275967b8fb345f866215c06"
    ),
    SourcePackage("wand", "wand-0.7.2.tar.gz", "0387fd08848d00cadd1d885fcb19a17dd4250df2029e5338b6b668b7fed64b5b"),
)


def files(package: SourcePackage) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in the package. Raises OSError if the index does not answer."""
    with tarfile.open(_download(package)) as archive:
        for member in archive:
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                yield member.name, file.read()


def _download(package: SourcePackage) -> Path:
    """The package's file, kept in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill-tests"
    path = cache / package.file
    if not path.exists():
        data = urllib.request.urlopen(_address(package), timeout=120).read()
        assert hashlib.sha256(data).hexdigest() == package.sha256, f"{package.file} is not the file that was expected"
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(path)
    return path


def _address(package: SourcePackage) -> str:
    request = urllib.request.Request(f"{INDEX}/{package.project}/", headers={"Accept": JSON})
    with urllib.request.urlopen(request, timeout=60) as response:
        listed = json.load(response)["files"]
    return next(str(file["url"]) for file in listed if file["filename"] == package.file)
