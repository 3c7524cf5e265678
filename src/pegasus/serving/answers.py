"""What is answered, as `/openapi.json` describes it: routes write these forms, a test compares the two."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pegasus.summarizer.characters import Unknown
from pegasus.summarizer.records import Chunk, Explanation, Finish, How


class Answer(BaseModel):
    """No answer holds more than is described."""

    model_config = ConfigDict(extra="forbid")


class UsageOfTokens(Answer):
    """Tokens read and written."""

    input_tokens: int
    summary_tokens: int


class SummaryFacts(Answer):
    """A summary, and all that is known of it."""

    summary: str
    score: float
    input_tokens: int
    used_tokens: int
    truncated: bool
    summary_tokens: int
    finish_reason: Finish
    cut: bool
    long: How
    chunks: list[Chunk]
    merged: int
    unknown: Unknown
    warnings: list[str]
    seconds: float
    model: str
    explanation: list[Explanation] | None = None
    prevented: int = 0


class SummaryAnswer(SummaryFacts):
    """Of one document."""

    id: str
    usage: UsageOfTokens


class SummaryResult(SummaryFacts):
    """Of one of several documents."""

    index: int


class ErrorDetail(Answer):
    """Why a request is refused."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Answer):
    """The form of every refusal."""

    error: ErrorDetail


class ErrorResult(ErrorBody):
    """In the place of a summary that there is none of."""

    index: int


class SummariesAnswer(Answer):
    """Of several documents, in their order."""

    id: str
    model: str
    results: list[SummaryResult | ErrorResult]
    usage: UsageOfTokens


class Health(Answer):
    """The process lives."""

    status: Literal["ok"]
    state: Literal["opening", "ready", "leaving", "failed", "ended"]
    key_needed: bool


class Readiness(Answer):
    """Documents are taken."""

    status: Literal["ready"]


class Limits(Answer):
    """What is refused above."""

    body_bytes: int
    documents: int
    num_beams: int
    max_new_tokens: int
    extend_limit: int
    texts: int
    deadline_seconds: float


class Info(Answer):
    """What this server is."""

    model: str
    version: str
    state: str
    device: str | None
    dtype: str | None
    input_tokens: int
    summary_tokens: int
    num_beams: int
    limits: Limits


class ModelCard(Answer):
    """A model, as OpenAI has it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Answer):
    """The models served."""

    object: Literal["list"]
    data: list[ModelCard]


class OpenAiUsage(Answer):
    """Tokens, as OpenAI counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(Answer):
    """The summary."""

    role: Literal["assistant"]
    content: str


class ChatChoice(Answer):
    """The one choice of a chat."""

    index: int
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatAnswer(Answer):
    """A chat's answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: OpenAiUsage


class TextChoice(Answer):
    """The summary of one prompt."""

    index: int
    text: str
    logprobs: None
    finish_reason: Literal["stop", "length"]


class CompletionAnswer(Answer):
    """A completion's answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: OpenAiUsage


class PipelineSummary(Answer):
    """One element of the answer in Hugging Face's form."""

    summary_text: str
