"""`reelmill register`, `follow` and `open`: frames that are there already, frames that arrive, and the page."""

import webbrowser
from urllib.parse import urlsplit

import typer

from service.client.addresses import is_here
from service.commands.remote.connection import find_dataset, open_mill, service_url
from service.commands.remote.output import print_json
from service.commands.up import login_link
from service.config import Settings
from service.plan.formats import SourceKind


async def register(
    settings: Settings, address: str, place: tuple[str, str], kind: SourceKind, *, as_json: bool
) -> None:
    """Make a dataset of what is in a bucket below a prefix, and scan it.

    `place` is (experiment, dataset); the experiment is made if it is missing.

    Raises Refused, typer.BadParameter.
    """
    bucket, prefix = parse_s3_address(address)
    async with open_mill(settings) as mill:
        experiment = await mill.experiments.get_or_create(place[0])
        found = await experiment.datasets.register(place[1], prefix, bucket=bucket, kind=kind)
        await found.wait_until_scanned()
    if as_json:
        print_json(found.fields)
    else:
        print(f"dataset {found.id}: {found.frame_count} frames, {found.bytes} bytes")


async def follow(settings: Settings, name: str, *, off: bool, as_json: bool) -> None:
    """Have the service follow a dataset; with `off`, end that."""
    async with open_mill(settings) as mill:
        dataset = await find_dataset(mill, name)
        await (dataset.stop_following() if off else dataset.start_following())
    if as_json:
        print_json(dataset.fields)
    else:
        print(f"{dataset.name} is {'followed' if dataset.followed else 'not followed'}")


def parse_s3_address(address: str) -> tuple[str, str]:
    """The bucket and the prefix of `s3://bucket/prefix`. Raises typer.BadParameter."""
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise typer.BadParameter(f"{address}: write s3://bucket/prefix/", param_hint="ADDRESS")
    return parts.netloc, address.removeprefix(f"s3://{parts.netloc}").lstrip("/")


def open_page(settings: Settings) -> None:
    """Open the page in the browser of this machine, signed in if the service is this machine's. Raises StartupError."""
    address = page_address(settings)
    print(address.partition("#")[0])
    webbrowser.open(address)


def page_address(settings: Settings) -> str:
    """The page of the service; behind `#` a token, REELMILL_TOKEN or one that is signed here, but only for the service
    of this machine. Raises StartupError."""
    url = service_url(settings)
    if not is_here(url):
        return f"{url}/"
    return f"{url}/#token={settings.client.token}" if settings.client.token else login_link(settings, url)
