"""Conversations as text: the template that a tokenizer may carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from pegasus.errors import BackendMissing, BadSetting

#: One line to begin a message, its text, one mark to end it.
CHAT_MARKUP = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
)


class ChatTemplates:
    """``apply_chat_template`` as in transformers 4.34, on both tokenizers."""

    chat_template: str | None
    encode: Callable[..., Any]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name → token: what a template may call its marks."""
        raise NotImplementedError

    @property
    def default_chat_template(self) -> str:
        """The template that is used where the tokenizer has none: the ChatML form."""
        return CHAT_MARKUP

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]] | Any,
        chat_template: str | None = None,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write a conversation as one text, and encode it without eos.

        Args:
            conversation: messages with ``role`` and ``content``, or an object with ``messages``.
            chat_template: a Jinja template; None: the tokenizer's own, then the default one.
            tokenize: False gives the text itself.
            padding: True pads to the maximal length: there is only one row.
            truncation: as in a call.
            max_length: as in a call.
            return_tensors: as in a call.
            kwargs: other keywords of a call.

        Returns:
            Ids, or a text.

        Raises:
            BadSetting: when the template cannot be read or refuses the conversation.
        """
        template = chat_template or self.chat_template or self.default_chat_template
        messages = getattr(conversation, "messages", conversation)
        text = _render(template, messages, self.special_tokens_map)
        if not tokenize:
            return text
        return self.encode(
            text, add_special_tokens=False, padding="max_length" if padding is True else padding,
            truncation=truncation, max_length=max_length, return_tensors=return_tensors, **kwargs,
        )  # fmt: skip


def _render(template: str, messages: Any, names: Mapping[str, Any]) -> str:
    try:
        from jinja2.exceptions import TemplateError
    except ImportError as error:
        raise BackendMissing("Chat templates need Jinja. Run: pip install jinja2") from error
    try:
        text: str = _compile(template).render(messages=messages, **names)
    except TemplateError as error:
        raise BadSetting(f"The chat template does not work: {error}. Give chat_template.") from error
    return text


@lru_cache(maxsize=32)
def _compile(template: str) -> Any:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    # A template comes with a checkpoint, from anybody: it may read what it is given and nothing else.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)
