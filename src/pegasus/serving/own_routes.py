"""Our own routes: summaries with all that is known of them, health, metrics, and what this server is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

import pegasus
from pegasus.serving.answers import Health, Info, Readiness, SummariesAnswer, SummaryAnswer
from pegasus.serving.asking import Asking, End, Usage
from pegasus.serving.desk import REFUSALS, SIMPLE_REFUSALS, Desk, new_name, note
from pegasus.serving.orders import Words
from pegasus.serving.problems import JsonResponse, Problem, problem_of
from pegasus.serving.schemas import SummarizeRequest
from pegasus.serving.streaming import event, stream
from pegasus.serving.watching import CONTENT_TYPE
from pegasus.summarizer import Summary

_HEALTH: dict[int | str, dict[str, Any]] = {
    status: REFUSALS[status] for status in (403, 405, 408, 413, 431)
}
_EVENTS: dict[str, Any] = {
    "description": "The summary, or events: `words` {index, text}, `summary` {index, ...}, `error`, `end`.",
    "content": {"text/event-stream": {}},
}


def own_routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(default_response_class=JsonResponse)

    @router.post(
        "/v1/summarize",
        responses={**REFUSALS, 200: _EVENTS},
        response_model=SummaryAnswer | SummariesAnswer,
        summary="Summarize documents",
    )
    async def summarize(body: SummarizeRequest, request: Request) -> Response:
        desk.check_model(body.model)
        texts = body.documents if body.document is None else [body.document]
        assert texts is not None
        asking = desk.ask(texts, body.changes(), timeout=body.timeout, words=body.stream)
        if body.stream:
            return stream(_events(asking, request, desk.model))
        ends = await desk.answer(request, asking)
        if body.document is not None or not any(isinstance(end, Summary) for end in ends):
            return _single(ends[0], desk.model)
        results = [_result(end, desk.model, index) for index, end in enumerate(ends)]
        answer = {"id": new_name("sum"), "model": desk.model, "results": results, "usage": _usage(ends)}
        return JsonResponse(answer)

    @router.get("/healthz", summary="Whether the process lives", responses=_HEALTH, response_model=Health)
    async def healthz() -> Response:
        key_needed = bool(desk.options.keys.digests)
        return JsonResponse({"status": "ok", "state": desk.room.state, "key_needed": key_needed})

    @router.get(
        "/readyz",
        summary="Whether documents are taken",
        responses=_HEALTH | {503: REFUSALS[503]},
        response_model=Readiness,
    )
    async def readyz() -> Response:
        if desk.room.state != "ready":
            raise Problem(503, f"The server is {desk.room.state}.", "not_ready", retry_after=2)
        return JsonResponse({"status": "ready"})

    @router.get(
        "/metrics",
        summary="Counts, in Prometheus' form",
        responses=SIMPLE_REFUSALS,
        response_class=PlainTextResponse,
    )
    async def metrics() -> Response:
        return Response(desk.room.watcher.exposition(), headers={"Content-Type": CONTENT_TYPE})

    @router.get(
        "/info",
        summary="What this server is",
        responses=SIMPLE_REFUSALS | {503: REFUSALS[503]},
        response_model=Info,
    )
    async def info() -> Response:
        return JsonResponse(_info(desk))

    return router


def _single(end: End, model: str) -> Response:
    if not isinstance(end, Summary):
        return problem_of(end).response()
    return JsonResponse({"id": new_name("sum"), **_facts(end, model), "usage": _usage([end])})


def _facts(summary: Summary, model: str) -> dict[str, Any]:
    facts = summary.to_dict()
    return {"summary": facts.pop("text"), **facts, "model": model}


def _result(end: End, model: str, index: int) -> dict[str, Any]:
    if isinstance(end, Summary):
        return {"index": index, **_facts(end, model)}
    return {"index": index, **problem_of(end).body}


def _usage(ends: list[End]) -> dict[str, int]:
    usage = Usage.of(ends)
    return {"input_tokens": usage.read, "summary_tokens": usage.written}


async def _events(asking: Asking, request: Request, model: str) -> AsyncIterator[bytes]:
    ends: list[End] = []
    async for index, told in asking.events():
        if isinstance(told, Words):
            yield event({"index": index, "text": told.text}, "words")
            continue
        ends.append(told)
        yield event(_result(told, model, index), "summary" if isinstance(told, Summary) else "error")
    note(request, ends)
    yield event({"usage": _usage(ends)}, "end")


def _info(desk: Desk) -> dict[str, Any]:
    model, options = desk.room.opened(), desk.options
    return {
        "model": desk.model,
        "version": pegasus.__version__,
        "state": desk.room.state,
        "device": model.device,
        "dtype": model.dtype,
        "input_tokens": model.input_tokens,
        "summary_tokens": model.summary_tokens,
        "num_beams": model.beams,
        "limits": {
            "body_bytes": options.most_body,
            "documents": options.most_documents,
            "num_beams": options.most_beams,
            "max_new_tokens": options.most_summary or model.limit,
            "extend_limit": options.most_extend,
            "texts": options.most_texts,
            "deadline_seconds": options.deadline,
        },
    }
