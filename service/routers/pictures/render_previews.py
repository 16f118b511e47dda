"""Previews by the options of a render: the picture that the video will have."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from pydantic import ConfigDict

from service.errors import InvalidRequest, NotFound
from service.plan.preview import RenderedPreview
from service.plan.requests.planning import RenderPlan, plan
from service.plan.requests.request import RenderRequest
from service.plan.timing import NOMINAL_RATE
from service.routers.catalog.access import get_visible_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS
from service.routers.http.dependencies import CallerDep, LimitsDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.object_streams import binary_content
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import PictureName, respond_with
from service.routers.videos.picture_options import EXAMPLE_CROP, PictureOptions, PresetReference
from service.routers.videos.presets import blame_preset, load_preset, with_options
from service.store.catalog.source_access import check_source, require_source
from service.store.database import Caller
from service.store.renders.facts import read_render_facts
from service.store.renders.output_frames import plan_output_frame
from service.store.renders.sources import require_planned_sources

router = APIRouter(prefix="/api/datasets", tags=["datasets"])


class RenderPreviewRequest(PictureOptions):
    """The options of the render; those that do not change its pictures, such as `quality`, are not taken, also from a
    preset.

    Without `fps`, `duration_seconds` and `timing` captured, 30 frames are shown per second.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"crop": EXAMPLE_CROP, "scale": 0.5, "overlay": {"frame_index": True}}]}
    )

    preset: PresetReference = None

    def to_request(self, experiment: UUID, dataset: UUID) -> RenderRequest:
        """Planned for the CPU: a GPU's pictures may differ in the last bit."""
        request = replace(self.to_picture_request(experiment, dataset), device="cpu")
        if self.fps is None and self.duration_seconds is None and self.timing == "uniform":
            return replace(request, fps=float(NOMINAL_RATE))
        return request


@router.post(
    "/{dataset_id}/frames/{index}/preview",
    summary="Preview a render at a frame",
    response_class=Response,
    responses={
        200: {"description": "The picture", "headers": ETAG_HEADERS, "content": binary_content("image/png", "a PNG")},
        **error_responses(404, 409, 429),
    },
    dependencies=[Depends(require_scope("catalog:read"))],
)
async def preview_render(
    dataset_id: UUID,
    index: Annotated[
        int, Path(ge=0, le=MAX_INT64, description="position in the sequence, counted as in `frames` of the render")
    ],
    body: RenderPreviewRequest,
    caller: CallerDep,
    resources: ResourcesDep,
    limits: LimitsDep,
) -> Response:
    """A PNG of the output frame that shows this frame, made by the stages of a render on the CPU, before the encoder:
    equal to the frame of an `ffv1` video; other codecs lose what their quality takes. Where frames are dropped or
    combined, it is the output frame in whose place `index` is. Answers 422 with the reason if the render would have no
    picture here."""
    async with resources.database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
    check_source(dataset, resources.sources)
    preset = await load_preset(resources.database, caller, body.preset)
    request = with_options(body, preset).to_request(dataset.experiment_id, dataset_id)
    facts = await read_render_facts(resources.database, caller, request, limits)
    try:
        preview = await _plan_preview(resources, plan(request, facts), index)
    except InvalidRequest as refused:
        raise _about_the_path(blame_preset(refused, body, preset)) from refused
    response = await respond_with(resources, preview, caller, PictureName(f"frame {index}", "index"))
    await _require_visible(resources, caller, preview)
    return response


async def _plan_preview(resources: Resources, render_plan: RenderPlan, index: int) -> RenderedPreview:
    positions = max(render_plan.selection.stop, render_plan.dataset.frame_count)
    if index >= positions:
        raise NotFound("there is no such frame in this dataset")
    async with resources.database.service_transaction() as connection:
        await require_planned_sources(connection, render_plan, resources.sources)
        shown = await plan_output_frame(connection, render_plan, index)
    return RenderedPreview(render_plan.dataset.id, shown, tuple(each.facts.id for each in render_plan.beside))


async def _require_visible(resources: Resources, caller: Caller, preview: RenderedPreview) -> None:
    """The right may have ended while a worker rendered. Raises NotFound, SourceForbidden."""
    async with resources.database.caller_transaction(caller) as connection:
        for dataset in preview.datasets:
            await get_visible_dataset(connection, dataset)
    async with resources.database.service_transaction() as connection:
        for dataset in preview.datasets:
            await require_source(connection, dataset, resources.sources)


def _about_the_path(refused: InvalidRequest) -> InvalidRequest:
    """The dataset is named by the path, not by the body."""
    errors = tuple(
        replace(error, pointer=None, parameter="dataset_id") if error.pointer == "#/dataset_id" else error
        for error in refused.errors
    )
    return InvalidRequest(refused.detail, errors)
