"""Routes in the form of OpenAI's: a message or a prompt is a document, an answer its summary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pegasus.serving.answers import ChatAnswer, CompletionAnswer, ModelCard, ModelList
from pegasus.serving.asking import Asking, End, Usage
from pegasus.serving.desk import REFUSALS, SIMPLE_REFUSALS, Desk, new_name, note, now
from pegasus.serving.orders import Words
from pegasus.serving.problems import JsonResponse, problem_of
from pegasus.serving.schemas import ChatRequest, CompletionRequest, OpenAiFields
from pegasus.serving.streaming import DONE, event, stream
from pegasus.summarizer import Summary

_EITHER: dict[str, Any] = {
    "description": "The summary, or its pieces as events that end in [DONE].",
    "content": {"text/event-stream": {}},
}
_READING = SIMPLE_REFUSALS | {503: REFUSALS[503]}
#: (number of a choice, text or None, why it ended or None) → a choice of an event.
Choice = Callable[[int, str | None, str | None], dict[str, Any]]


def openai_routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(default_response_class=JsonResponse)

    @router.post(
        "/v1/chat/completions",
        responses={**REFUSALS, 200: _EITHER},
        response_model=ChatAnswer,
        summary="Chat, as OpenAI has it",
    )
    async def chat(body: ChatRequest, request: Request) -> Response:
        desk.check_model(body.model)
        asking = desk.ask([body.messages[0].text], body.changes(), words=body.stream)
        head = _head("chatcmpl", "chat.completion.chunk" if body.stream else "chat.completion", desk.model)
        if body.stream:
            return stream(_chunks(asking, request, head, _chat_choice, body))
        summaries = await desk.summaries(request, asking)
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": summary.text},
                "logprobs": None,
                "finish_reason": _reason(summary),
            }
            for index, summary in enumerate(summaries)
        ]
        return JsonResponse({**head, "choices": choices, "usage": _usage(list(summaries))})

    @router.post(
        "/v1/completions",
        responses={**REFUSALS, 200: _EITHER},
        response_model=CompletionAnswer,
        summary="Completions, as OpenAI has them",
    )
    async def completions(body: CompletionRequest, request: Request) -> Response:
        desk.check_model(body.model)
        asking = desk.ask(body.texts, body.changes(), words=body.stream)
        head = _head("cmpl", "text_completion", desk.model)
        if body.stream:
            return stream(_chunks(asking, request, head, _text_choice, body))
        summaries = await desk.summaries(request, asking)
        choices = [_text_choice(index, one.text, _reason(one)) for index, one in enumerate(summaries)]
        return JsonResponse({**head, "choices": choices, "usage": _usage(list(summaries))})

    @router.get("/v1/models", responses=_READING, response_model=ModelList, summary="The model served")
    async def models() -> Response:
        desk.room.opened()
        return JsonResponse({"object": "list", "data": [_model(desk.model)]})

    @router.get("/v1/models/{name:path}", responses=_READING, response_model=ModelCard, summary="One model")
    async def model(name: str) -> Response:
        desk.room.opened()
        desk.check_model(name)
        return JsonResponse(_model(name))

    return router


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "pegasus"}


def _head(kind: str, what: str, model: str) -> dict[str, Any]:
    return {"id": new_name(kind), "object": what, "created": now(), "model": model}


def _reason(summary: Summary) -> str:
    return "length" if summary.finish_reason == "length" else "stop"


def _usage(ends: list[End]) -> dict[str, int]:
    usage = Usage.of(ends)
    return {
        "prompt_tokens": usage.read,
        "completion_tokens": usage.written,
        "total_tokens": usage.read + usage.written,
    }


def _chat_choice(index: int, text: str | None, reason: str | None) -> dict[str, Any]:
    delta = {} if text is None else {"role": "assistant", "content": text}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _text_choice(index: int, text: str | None, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text or "", "logprobs": None, "finish_reason": reason}


async def _chunks(
    asking: Asking, request: Request, head: dict[str, Any], choice: Choice, body: OpenAiFields
) -> AsyncIterator[bytes]:
    """Yield what each choice has got, then why it ended; an error ends the stream without [DONE]."""
    ends: list[End] = []
    told = [""] * len(asking.orders)
    async for index, one in asking.events():
        if isinstance(one, Words):
            told[index] += one.text
            yield event({**head, "choices": [choice(index, one.text, None)]})
            continue
        ends.append(one)
        if not isinstance(one, Summary):
            yield event(problem_of(one).body)
            return
        # Where a limit cut off more than the last word, what was told stands.
        rest = one.text.removeprefix(told[index]) if one.text.startswith(told[index]) else ""
        if rest:
            yield event({**head, "choices": [choice(index, rest, None)]})
        yield event({**head, "choices": [choice(index, None, _reason(one))]})
    note(request, ends)
    if body.stream_options is not None and body.stream_options.include_usage:
        yield event({**head, "choices": [], "usage": _usage(ends)})
    yield DONE
