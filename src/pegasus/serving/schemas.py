"""What may be sent: the fields of every request, their kinds, and their bounds that no server changes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

_MOST = 2**31 - 1
Document = Annotated[str, StringConstraints(min_length=1)]
# Beyond these bounds scores are no numbers any more, whatever the model.
_Penalty = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]
_Temperature = Annotated[float, Field(ge=0.0001, le=100, allow_inf_nan=False)]
_LengthPenalty = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
_Cutoff = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=_MOST)]
_AtLeastOne = Annotated[int, Field(ge=1, le=_MOST)]
# Described here and read by the summarizer, whose message says more.
_WrittenLength = Annotated[
    str,
    StringConstraints(max_length=20),
    Field(
        json_schema_extra={
            "pattern": r"^ *(?:short|medium|long|0*[1-9][0-9]{0,8}|0*(?:[1-9][0-9]?|100)%) *$"
        }
    ),
]

#: Fields that go to `generate`; the others of `Settings` are the summarizer's own.
GENERATE = (
    *("do_sample", "temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "seed"),
    *("max_length", "min_length", "max_new_tokens", "min_new_tokens", "early_stopping"),
    *("repetition_penalty", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size"),
    *("num_beam_groups", "diversity_penalty", "renormalize_logits"),
)
SUMMARIZER = (
    *("long", "length", "sentences", "num_beams", "length_penalty", "no_repeat_ngram_size"),
    *("retry_repetition", "repair", "explain", "check", "attribution", "unknown", "faithful"),
    *("max_input_tokens", "extend_limit"),
)


class Strict(BaseModel):
    """No field is ignored, and none is read as another kind than it is written as."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SettingsFields(Strict):
    """How to summarize; what is left out is as the server and its checkpoint say."""

    long: Literal["chunk", "truncate", "extend", "error"] | None = Field(
        None,
        description="A text of more tokens than the model takes: read all of it in pieces, only its "
        "beginning, all at once with untrained positions, or refuse it.",
    )
    length: _AtLeastOne | _WrittenLength | None = Field(
        None, description="short, medium, long, a number of words, or a share of the text: 10%."
    )
    sentences: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Write so many sentences."
    )
    num_beams: _AtLeastOne | None = Field(None, description="Beams of the search; 1 streams words.")
    length_penalty: _LengthPenalty | None = None
    no_repeat_ngram_size: _Count | None = None
    retry_repetition: bool | None = Field(None, description="Write a repetitive summary again.")
    repair: bool | None = Field(
        None, description="Put the text's own word in the place of a near-copy that is no word."
    )
    explain: bool | None = Field(None, description="Find the source sentences each sentence leans on.")
    check: bool | None = Field(
        None, description="Warn of repetition, and of numbers and names not in the text."
    )
    attribution: bool | None = Field(
        None, description="Warn of sentences whose subject and number the text has nowhere together."
    )
    unknown: Literal["warn", "error", "ignore"] | None = None
    faithful: Literal["off", "words", "names"] | None = Field(
        None,
        description="Hold every word of the summary to its text or to common words, or names and numbers.",
    )
    max_input_tokens: Annotated[int, Field(ge=8, le=_MOST)] | None = None
    extend_limit: _AtLeastOne | None = None
    do_sample: bool | None = None
    temperature: _Temperature | None = None
    top_k: _Count | None = None
    top_p: _Share | None = None
    typical_p: _Share | None = None
    epsilon_cutoff: _Cutoff | None = None
    eta_cutoff: _Cutoff | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="The same seed draws the same summary of the same text, whoever else asks."
    )
    max_length: Annotated[int, Field(ge=2, le=_MOST)] | None = None
    min_length: _Count | None = None
    max_new_tokens: _AtLeastOne | None = None
    min_new_tokens: _Count | None = None
    early_stopping: bool | Literal["never"] | None = None
    repetition_penalty: _Penalty | None = None
    encoder_repetition_penalty: _Penalty | None = None
    encoder_no_repeat_ngram_size: _Count | None = None
    num_beam_groups: _AtLeastOne | None = None
    diversity_penalty: _Penalty | None = None
    renormalize_logits: bool | None = None

    def changes(self) -> dict[str, Any]:
        """Return what was named, as `Settings` takes it."""
        named = {name: getattr(self, name) for name in SUMMARIZER if getattr(self, name) is not None}
        told = {name: getattr(self, name) for name in GENERATE if getattr(self, name) is not None}
        return {**named, "generate": told} if told else named


_ONE_OF_TWO: list[JsonValue] = [
    {
        "required": ["document"],
        "properties": {"document": {"type": "string"}, "documents": {"type": "null"}},
    },
    {
        "required": ["documents"],
        "properties": {"documents": {"type": "array"}, "document": {"type": "null"}},
    },
]


class SummarizeRequest(SettingsFields):
    """One document, or several."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_OF_TWO})

    document: Document | None = Field(None, description="The text; or `documents`.")
    documents: Annotated[list[Document], Field(min_length=1)] | None = None
    model: str | None = Field(None, description="Must be the model that is served.")
    stream: bool = Field(False, description="Answer as server-sent events: words, and whole summaries.")
    timeout: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] | None = Field(
        None, description="Seconds; at most the server's own deadline."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> SummarizeRequest:
        if (self.document is None) == (self.documents is None):
            raise ValueError("give either `document`, a text, or `documents`, a list of texts")
        return self


class StreamOptions(Strict):
    """What OpenAI's streams can be told."""

    include_usage: bool = False


class TextPart(Strict):
    """A part of a message."""

    type: Literal["text"]
    text: Document


class Message(Strict):
    """The document: this model follows no instructions, so there is one message, of the user."""

    role: Literal["user"]
    content: Document | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """The document."""
        return (
            self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        )


class OpenAiFields(SettingsFields):
    """What both of OpenAI's forms share, beside our own fields; what cannot be honoured is refused."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=0)] | _Temperature | None = Field(
        None, description="Above 0: words are drawn; 0: they are searched for."
    )
    max_tokens: _AtLeastOne | None = None
    n: Literal[1] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return what was named, as `Settings` takes it."""
        changes = super().changes()
        told = dict(changes.pop("generate", {}))
        limit = self.limit()
        if limit is not None:
            told["max_new_tokens"] = limit
        if told.get("temperature") == 0:
            del told["temperature"]
            told["do_sample"] = False
        elif self.do_sample is None and ({"temperature", "top_p"} & set(told)):
            told["do_sample"] = True
            changes.setdefault("num_beams", 1)
        return {**changes, "generate": told} if told else changes

    def limit(self) -> int | None:
        """The tokens that may be written."""
        return self.max_tokens


class ChatRequest(OpenAiFields):
    """OpenAI's chat: the message is the document."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1)]
    max_completion_tokens: _AtLeastOne | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    logprobs: Literal[False] | None = None

    def limit(self) -> int | None:
        """The tokens that may be written."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(OpenAiFields):
    """OpenAI's completions: each prompt is a document, each choice its summary."""

    prompt: Document | Annotated[list[Document], Field(min_length=1)]
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None

    @property
    def texts(self) -> list[str]:
        """The documents."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class PipelineParameters(SettingsFields):
    """What Hugging Face's summarization task takes, and our own fields."""

    truncation: Literal["do_not_truncate", "longest_first", "only_first", "only_second"] | None = None
    clean_up_tokenization_spaces: bool | None = Field(
        None, description="Read and without effect: there are none."
    )
    generate_parameters: SettingsFields | None = None


class PipelineRequest(Strict):
    """Hugging Face's inference form."""

    inputs: Document | Annotated[list[Document], Field(min_length=1)]
    parameters: PipelineParameters | None = None
    options: dict[Literal["use_cache", "wait_for_model"], bool] | None = None

    @property
    def texts(self) -> list[str]:
        """The documents."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs

    def changes(self) -> dict[str, Any]:
        """Return what was named, as `Settings` takes it."""
        if self.parameters is None:
            return {}
        changes, told = self.parameters.changes(), {}
        if self.parameters.generate_parameters is not None:
            inner = self.parameters.generate_parameters.changes()
            told = inner.pop("generate", {})
            changes |= inner
        told = {**changes.pop("generate", {}), **told}
        if self.parameters.truncation not in (None, "do_not_truncate"):
            changes["long"] = "truncate"
        elif self.parameters.truncation == "do_not_truncate":
            changes.setdefault("long", "error")
        return {**changes, "generate": told} if told else changes
