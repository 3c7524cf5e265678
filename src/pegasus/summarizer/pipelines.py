"""pipeline("summarization") with the arguments and the output that it has in transformers.

:class:`pegasus.Summarizer` does more and does it faster; this gives the lists of dictionaries that code
written for ``transformers.pipeline`` expects.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

from pegasus.backends import load_backend
from pegasus.errors import BadData, BadSetting, NotOffered, UnsupportedArgument
from pegasus.tokenization.auto import AutoTokenizer

logger = logging.getLogger(__name__)

_DEFAULT = "pegasus-mini"


class Text2TextGenerationPipeline:
    """Texts in, generated texts out.

    Args:
        model: a model that generates.
        tokenizer: its tokenizer.
        framework: "pt".
        task: how it was asked for.
        device: -1 for the processor, a number for a GPU, or a device.
        batch_size: how many texts are generated from at once.
        settings: defaults for every call: ``truncation``, ``clean_up_tokenization_spaces``,
            ``return_tensors``, ``return_text``, ``stop_sequence`` and keywords of ``generate``.
    """

    return_name: ClassVar[str] = "generated"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        framework: str | None = None,
        task: str = "",
        device: Any = None,
        batch_size: int | None = None,
        **settings: Any,
    ) -> None:
        if framework not in (None, "pt"):
            raise NotOffered(f"A pipeline computes with 'pt' here, not with {framework!r}. Leave it out.")
        self.model, self.tokenizer, self.framework, self.task = model, tokenizer, "pt", task
        self.batch_size, self._settings = batch_size or 1, settings
        if device is not None:
            name = "cpu" if device == -1 else f"cuda:{device}" if isinstance(device, int) else device
            self.model.to(name)
        self.model.eval()

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.model.device

    def __call__(self, documents: Any, batch_size: int | None = None, **settings: Any) -> Any:
        """Generate from texts.

        Args:
            documents: a text, a list of texts, or any other iterable of texts (a generator, a column of a
                data set).
            batch_size: how many at once.
            settings: as in the constructor, for this call.

        Returns:
            For a text a list with one dictionary for each returned sequence; for a list of texts one
            dictionary each, or one list each where there are several sequences; for another iterable
            an iterator of lists. A dictionary holds ``summary_text`` (``generated_text``), or
            ``summary_token_ids`` with ``return_tensors=True``.

        Raises:
            BadData: for what is no text.
        """
        options = {**self._settings, **settings}
        size = batch_size or self.batch_size
        if isinstance(documents, str):
            return self._generate([documents], options)[0]
        if not isinstance(documents, list):
            return self._stream(documents, size, options)
        found = list(self._stream(documents, size, options))
        return [rows[0] for rows in found] if all(len(rows) == 1 for rows in found) else found

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> None:
        """Tell of lengths that do not go together."""

    def _stream(self, documents: Iterable[str], size: int, options: dict[str, Any]) -> Iterator[Any]:
        rest = iter(documents)
        while batch := list(islice(rest, size)):
            yield from self._generate(batch, options)

    def _generate(self, texts: Sequence[str], options: dict[str, Any]) -> list[list[dict[str, Any]]]:
        for text in texts:
            if not isinstance(text, str):
                raise BadData(f"A pipeline takes texts, got {type(text).__name__}: {text!r:.60}.")
        options = {**self._task_settings(), **options}
        truncation, shown = options.pop("truncation", False), self._take_output(options)
        prefix = getattr(self.model.config, "prefix", None) or ""
        inputs = self.tokenizer(
            [prefix + text for text in texts],
            padding=len(texts) > 1,
            truncation=truncation,
            return_tensors="pt",
        ).to(self.device)
        length = int(inputs["attention_mask"].sum(-1).max())
        limits = self.model.generation_config
        self.check_inputs(
            length,
            options.get("min_length", limits.min_length) or 0,
            options.get("max_length", limits.max_length) or 0,
        )
        ids = self.model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], **options
        )
        several = len(ids) // len(texts)
        return [
            [self._record(row, *shown) for row in ids[start : start + several]]
            for start in range(0, len(ids), several)
        ]

    def _task_settings(self) -> dict[str, Any]:
        """What a checkpoint states for this task, without the prefix that it may have there."""
        stated = (getattr(self.model.config, "task_specific_params", None) or {}).get(self.task) or {}
        return {name: value for name, value in stated.items() if name != "prefix"}

    def _take_output(self, options: dict[str, Any]) -> tuple[bool, bool]:
        """Takes the keywords of the output out of those of ``generate``."""
        tensors, text = options.pop("return_tensors", None), options.pop("return_text", None)
        if (word := options.pop("stop_sequence", None)) is not None:
            ids = self.tokenizer.encode(word, add_special_tokens=False)
            if len(ids) > 1:
                logger.warning(
                    "stop_sequence %r is %d tokens: the first of them ends a text.", word, len(ids)
                )
            options["eos_token_id"] = ids[0]
        tidy = bool(options.pop("clean_up_tokenization_spaces", False))
        return bool(tensors) and not text, tidy

    def _record(self, ids: Any, tensors: bool, tidy: bool) -> dict[str, Any]:
        if tensors:
            return {f"{self.return_name}_token_ids": ids}
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=tidy)
        return {f"{self.return_name}_text": text}


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Documents in, summaries out."""

    return_name = "summary"

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> None:
        """Tell of lengths that do not go together, and of a summary that may be longer than its text."""
        if 0 < max_length < min_length:
            logger.warning("min_length=%d is above max_length=%d.", min_length, max_length)
        if input_length < max_length:
            logger.warning(
                "max_length=%d, and the longest text has %d tokens: a summary should be shorter. "
                "Say max_length=%d, for instance.",
                max_length,
                input_length,
                max(1, input_length // 2),
            )


_TASKS = {
    "summarization": SummarizationPipeline,
    "text2text-generation": Text2TextGenerationPipeline,
}


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    framework: str | None = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: Any = None,
    device_map: Any = None,
    torch_dtype: Any = None,
    trust_remote_code: bool | None = None,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: type | None = None,
    **kwargs: Any,
) -> Text2TextGenerationPipeline:
    """A pipeline for a task, with the arguments of ``transformers.pipeline`` 4.34.

    Args:
        task: "summarization" (also where none is named) or "text2text-generation".
        model: a name, a folder or a model; None: the bundled one.
        config: a configuration for the model.
        tokenizer: a name, a folder or a tokenizer; None: that of the model's name.
        feature_extractor: refused: there are no sounds or images.
        image_processor: refused likewise.
        framework: "pt".
        revision: a branch, a tag or a commit of the hub.
        use_fast: which tokenizer.
        token: for private repositories.
        device: -1 for the processor, a number for a GPU, or a device.
        device_map: refused: say ``device``.
        torch_dtype: the type of the weights.
        trust_remote_code: there is no code in what is loaded.
        model_kwargs: more keywords of ``from_pretrained``.
        pipeline_class: another class to make.
        kwargs: ``batch_size`` and defaults of every call.

    Raises:
        NotOffered: for another task.
        BadSetting: when a model is given without its tokenizer.
    """
    refused = {
        "feature_extractor": feature_extractor, "image_processor": image_processor,
        "device_map": device_map,
    }  # fmt: skip
    for name, value in refused.items():
        if value is not None:
            raise UnsupportedArgument(f"pipeline takes no {name}. For a GPU say device=0.")
    task = task or "summarization"
    kind: Any = pipeline_class or _TASKS.get(task)
    if kind is None:
        raise NotOffered(f"pipeline knows {' and '.join(_TASKS)}, not {task!r}: PEGASUS writes summaries.")
    model = _DEFAULT if model is None else model
    where = {"revision": revision, "token": kwargs.pop("use_auth_token", None) if token is None else token}
    where = {name: value for name, value in where.items() if value is not None}
    named = isinstance(model, str | os.PathLike)
    if tokenizer is None and not named:
        raise BadSetting(
            "A model that is loaded already needs its tokenizer: say pipeline(..., tokenizer=...)."
        )
    if isinstance(tokenizer, str | os.PathLike) or tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer or model, use_fast=use_fast, **where)
    if named:
        options = {**where, "config": config, "torch_dtype": torch_dtype, **(model_kwargs or {})}
        options = {name: value for name, value in options.items() if value is not None}
        options.pop("trust_remote_code", None)  # there is no code in what this package loads
        model = load_backend("torch").models["conditional"].from_pretrained(model, **options)
    found: Text2TextGenerationPipeline = kind(
        model=model, tokenizer=tokenizer, framework=framework, task=task, device=device, **kwargs
    )
    return found
