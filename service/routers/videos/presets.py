"""Presets: list, create, read, change, delete; and their options in a request that names one."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import FieldProblem, Forbidden, InvalidRequest, NotFound, invalid_field
from service.routers.http.conditional_requests import (
    ETAG_HEADERS,
    IfMatch,
    IfNoneMatch,
    etag,
    not_modified_response,
    require_match,
)
from service.routers.http.dependencies import CallerDep, DatabaseDep, require_scope
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.routers.videos.picture_options import PictureOptions
from service.routers.videos.preset_models import NewPreset, Preset, PresetChange, PresetQuery
from service.routers.videos.request_models import PresetOptions
from service.store.catalog import presets
from service.store.catalog.presets import PresetFilter
from service.store.database import Caller, Database
from service.store.renders.requesters import NamedPreset

log = structlog.get_logger("service.presets")
router = APIRouter(prefix="/api/presets", tags=["presets"])
REQUIRE_READ = Depends(require_scope("videos:read"))
REQUIRE_WRITE = Depends(require_scope("videos:render"))
POINTER = "#/preset"
Body = TypeVar("Body", bound=PictureOptions)


@dataclass(frozen=True, slots=True)
class LoadedPreset:
    """A preset as it is at this moment."""

    named: NamedPreset
    options: PresetOptions


async def load_preset(database: Database, caller: Caller, reference: str | None) -> LoadedPreset | None:
    """The preset that a request names by id or name; None if it names none. Raises InvalidRequest."""
    if reference is None:
        return None
    async with database.caller_transaction(caller) as connection:
        rows = await presets.find(connection, reference, caller.subject)
    if not rows:
        raise invalid_field(POINTER, "there is no such preset that you may see", "no_preset")
    if len(rows) > 1:
        raise invalid_field(POINTER, "several people share a preset of this name with you: name its id", "ambiguous")
    try:
        options = PresetOptions.model_validate(rows[0]["options"])
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        detail = f"the preset was made by another version, which took another {place}: change its options"
        raise invalid_field(POINTER, detail, "outdated_preset") from error
    return LoadedPreset(NamedPreset(rows[0]["id"], rows[0]["name"]), options)


def with_options(body: Body, preset: LoadedPreset | None) -> Body:
    """The request, with the options of the preset that it does not set itself. Each is taken or left as a whole."""
    if preset is None:
        return body
    taken = preset.options.model_fields_set & set(type(body).model_fields) - body.model_fields_set
    return body.model_copy(update={name: getattr(preset.options, name) for name in taken})


def blame_preset(refused: InvalidRequest, body: PictureOptions, preset: LoadedPreset | None) -> InvalidRequest:
    """The same error, which says so where a field that it names is not in the request but in its preset."""
    if preset is None:
        return refused
    hint = f" (the preset {preset.named.name!r} has this)"
    taken = preset.options.model_dump(by_alias=True, exclude_unset=True).keys() - body.model_fields_set

    def explain(problem: FieldProblem) -> FieldProblem:
        field = (problem.pointer or "").removeprefix("#/").partition("/")[0]
        return replace(problem, detail=problem.detail + hint) if field in taken else problem

    errors = tuple(explain(problem) for problem in refused.errors)
    return InvalidRequest(refused.detail + hint if errors != refused.errors else refused.detail, errors)


def _to_preset(row: RowMapping, caller: Caller) -> Preset:
    facts = {name: row[name] for name in Preset.model_fields}
    if row["owner"] != caller.subject and not caller.admin:
        facts["shared_with"] = []
    return Preset(**facts)


def _to_values(body: NewPreset | PresetChange) -> dict[str, Any]:
    """The columns to write: of the options those that were set."""
    values = body.model_dump(exclude_unset=isinstance(body, PresetChange), exclude={"options"})
    if "options" in body.model_fields_set:
        values["options"] = body.options.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return values


@router.get(
    "",
    summary="List presets",
    response_model=list[Preset],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_presets(
    request: Request,
    response: Response,
    query: Annotated[PresetQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Preset]:
    """Presets that the caller may see, newest first unless `sort` is set. If there are more, the `Link` header has the
    URL of the next page."""
    pager = Pager(signer, "presets", query.sort)
    page, filters = pager.keyset_page(query), PresetFilter(query.q, caller.subject if query.mine else None)
    async with database.caller_transaction(caller) as connection:
        rows, shown = await presets.list_page(connection, filters, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await presets.count(connection, filters))
    return [_to_preset(row, caller) for row in pager.paginate(rows, shown, request, response)]


@router.post(
    "",
    status_code=201,
    summary="Make a preset",
    response_model=Preset,
    responses={201: {"headers": ETAG_HEADERS}, **error_responses(409)},
    dependencies=[REQUIRE_WRITE],
)
async def make_preset(body: NewPreset, response: Response, caller: CallerDep, database: DatabaseDep) -> Preset:
    """The caller becomes the owner. The `Location` header has the URL of the preset. Renders, estimates and previews
    name it as `preset`."""
    async with database.caller_transaction(caller) as connection:
        row = await presets.create(connection, caller.subject, _to_values(body))
    preset = _to_preset(row, caller)
    log.info("preset made", user=caller.subject, preset=str(preset.id))
    response.headers["Location"] = f"/api/presets/{preset.id}"
    response.headers["ETag"] = etag(preset)
    return preset


@router.get(
    "/{preset_id}",
    summary="Look at a preset",
    response_model=Preset,
    responses={200: {"headers": ETAG_HEADERS}, 304: {"description": "Not modified"}},
    dependencies=[REQUIRE_READ],
)
async def get_preset(
    preset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Preset | Response:
    """Answers 404 if it does not exist or the caller may not see it."""
    async with database.caller_transaction(caller) as connection:
        preset = _to_preset(await _get_visible(connection, preset_id), caller)
    response.headers["ETag"] = etag(preset)
    return not_modified_response(if_none_match, etag(preset)) or preset


@router.patch(
    "/{preset_id}",
    summary="Change a preset",
    response_model=Preset,
    responses={200: {"headers": ETAG_HEADERS}, **error_responses(409, 412)},
    dependencies=[REQUIRE_WRITE],
)
async def change_preset(
    preset_id: UUID,
    body: PresetChange,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    if_match: IfMatch = None,
) -> Preset:
    """Changes only the fields that are sent; `options` are replaced entirely. Only for the owner and admins. With
    `If-Match`, only if the preset has not changed since it was read. Renders that were asked for before stay as they
    are."""
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, etag(_to_preset(await _lock_owned(connection, preset_id, caller), caller)))
        changed = _to_preset(await presets.change(connection, preset_id, _to_values(body)), caller)
    log.info("preset changed", user=caller.subject, preset=str(preset_id))
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{preset_id}",
    status_code=204,
    summary="Delete a preset",
    responses=error_responses(412),
    dependencies=[REQUIRE_WRITE],
)
async def delete_preset(preset_id: UUID, caller: CallerDep, database: DatabaseDep, if_match: IfMatch = None) -> None:
    """Only for the owner and admins. Renders that were asked for with it stay."""
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, etag(_to_preset(await _lock_owned(connection, preset_id, caller), caller)))
        await presets.delete(connection, preset_id)
    log.info("preset deleted", user=caller.subject, preset=str(preset_id))


async def _get_visible(connection: AsyncConnection, preset: UUID) -> RowMapping:
    row = await presets.get(connection, preset)
    if row is None:
        raise NotFound("there is no such preset")
    return row


async def _lock_owned(connection: AsyncConnection, preset: UUID, caller: Caller) -> RowMapping:
    """The row, locked until the transaction ends. Raises NotFound, Forbidden."""
    if (await _get_visible(connection, preset))["owner"] != caller.subject and not caller.admin:
        raise Forbidden("only the owner of the preset may change it")
    row = await presets.lock(connection, preset)
    if row is None:
        raise NotFound("there is no such preset")
    return row
