"""Routes in Hugging Face's inference form, for `InferenceClient(base_url=...).summarization(text)`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pegasus.serving.answers import PipelineSummary
from pegasus.serving.desk import REFUSALS, Desk
from pegasus.serving.problems import JsonResponse
from pegasus.serving.schemas import PipelineRequest

Summaries = list[PipelineSummary]


def pipeline_routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(default_response_class=JsonResponse)

    @router.post("/", responses=REFUSALS, response_model=Summaries, summary="Hugging Face's inference form")
    async def infer(body: PipelineRequest, request: Request) -> Response:
        return await _answer(body, request)

    @router.post(
        "/models/{name:path}",
        responses=REFUSALS,
        response_model=Summaries,
        summary="The same, with the model's name",
    )
    async def infer_by_name(name: str, body: PipelineRequest, request: Request) -> Response:
        desk.check_model(name)
        return await _answer(body, request)

    async def _answer(body: PipelineRequest, request: Request) -> Response:
        summaries = await desk.summaries(request, desk.ask(body.texts, body.changes()))
        return JsonResponse([{"summary_text": summary.text} for summary in summaries])

    return router
