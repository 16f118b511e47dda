"""`reelmill devices`: tested device capabilities, as reported by workers or probed on this machine."""

import json
import platform
import sys
from collections.abc import Iterator
from typing import Any

import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from service.client.errors import UnexpectedAnswer
from service.commands.remote.connection import open_mill
from service.config import Settings
from service.devices.canary_process import CanaryProcess
from service.devices.capabilities import CapabilityTable
from service.routers.ops.device_models import DeviceModel
from service.worker.devices.canaries import DeviceSource, local_device_source
from service.worker.devices.monitor import FIRST_START_TIMEOUT_S, DeviceInventory

STATE_STYLES = {"ok": "green", "degraded": "yellow", "quarantined": "red", "absent": "dim", "unknown": "dim"}
FAULTY_STATES = ("degraded", "quarantined")
status_console = Console(stderr=True)


async def show_devices(settings: Settings, *, here: bool, as_json: bool) -> bool:
    """Print the devices; whether none is degraded or quarantined."""
    devices = None if here else await _fetch_devices(settings)
    if devices is None:
        devices = await probe_devices(settings, local_device_source(settings.worker.gpu_slots != 0))
    if as_json:
        print(json.dumps([device.model_dump() for device in devices], indent=2))
    else:
        _print_devices(devices)
    return not any(device.state in FAULTY_STATES for device in devices)


async def _fetch_devices(settings: Settings) -> list[DeviceModel] | None:
    """What the service's workers report; None if REELMILL_URL is not set and no local service is running."""
    if settings.client.url is None and not await _is_reachable(f"http://127.0.0.1:{settings.process.port}"):
        status_console.print("no service is running on this machine: testing its devices here", style="dim")
        return None
    async with open_mill(settings) as mill:
        rows = await mill.devices()
    try:
        return [DeviceModel(**row) for row in rows]
    except ValidationError as error:
        raise UnexpectedAnswer(200, "the answer is not of the expected form") from error


async def _is_reachable(url: str) -> bool:
    try:
        async with httpx.AsyncClient(base_url=url, timeout=2, trust_env=False) as client:
            return (await client.get("/health/live")).is_success
    except httpx.HTTPError:
        return False


async def probe_devices(settings: Settings, source: DeviceSource) -> list[DeviceModel]:
    """Read this machine's devices and run each canary once, one process per device."""
    worker, inventory = settings.worker, DeviceInventory(source.probes)
    table = CapabilityTable(worker.canary_period_s, worker.cpu_canary_period_s)
    await inventory.refresh()
    table.update_devices(inventory.devices(), source.canaries)
    with status_console.status("canaries") as status:
        for device in [device for device in table.devices() if device.absent_reason is None]:
            process = CanaryProcess(device.name, worker.canary_timeout_s, FIRST_START_TIMEOUT_S)
            for canary in source.canaries(device.name):
                status.update(f"{canary.device}: {canary.stage} {canary.what}")
                table.record(canary.key, await process.run(canary))
            await process.close()
    await inventory.refresh()
    table.update_devices(inventory.devices(), source.canaries)
    return list(_to_models(table))


def _to_models(table: CapabilityTable) -> Iterator[DeviceModel]:
    rows = table.to_json()
    for device in table.devices():
        own = [{**row, "reason": row["reason"] or None} for row in rows if row["device"] == device.name]
        yield DeviceModel.from_row(
            {
                "worker": platform.node(),
                "device": device.name,
                "facts": device.to_json(),
                "age": 0.0,
                "sandbox_gaps": [],
                "capabilities": sorted(own, key=lambda row: (row["stage"], row["what"])),
            }
        )


def _print_devices(devices: list[DeviceModel]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if not devices:
        console.print("no live worker has reported devices")
    for device in devices:
        console.print(f"\n[bold]{device.device}[/] {escape(device.model or '')} on {escape(device.worker)}", end=" ")
        console.print(
            f"[{STATE_STYLES[device.state]}]{device.state}[/]{f': {escape(device.reason)}' if device.reason else ''}"
        )
        for gap in device.sandbox_gaps:
            console.print(f"[yellow]not confined in every way[/]: {escape(gap)}")
        if device.state != "absent":
            console.print(_capability_table(device), _reading_table(device))


def _capability_table(device: DeviceModel) -> Grid:
    grid = Grid("capability", "state", "tested", "MP/s", "reason", box=None, padding=(0, 2, 0, 0))
    for one in device.capabilities:
        age = "never" if one.proven_seconds_ago is None else f"{one.proven_seconds_ago:.0f} s ago"
        rate = "" if one.megapixels_per_second is None else f"{one.megapixels_per_second:.0f}"
        state = f"[{STATE_STYLES[one.state]}]{one.state}[/]"
        grid.add_row(f"{one.stage} {one.what}", state, age, rate, escape(one.reason or ""))
    return grid


def _reading_table(device: DeviceModel) -> Grid:
    grid = Grid("reading", "value", box=None, padding=(0, 2, 0, 0))
    for name, value in device.figures.items():
        grid.add_row(
            name,
            f"[dim]unknown: {escape(device.unknown.get(name, ''))}[/]"
            if value is None
            else escape(_format_value(value)),
        )
    return grid


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
