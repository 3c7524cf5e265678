"""``GenerationMixin``: settle the settings, open a session, choose a search, let them talk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.errors import BadSetting, NotOffered, UnsupportedArgument
from pegasus.generation.config import FILE, GenerationConfig, read_json
from pegasus.generation.plan import Listener, Plan
from pegasus.generation.request import Recorded, Records, Request
from pegasus.generation.rules import Rules
from pegasus.generation.session import Hypotheses, Session, converse
from pegasus.generation.settle import Guests, Limits, limits_for, rules_for, settings_for, token_list
from pegasus.generation.strategies import Strategy, choose
from pegasus.generation.trail import Trail


class GenerationMixin:
    """``generate`` for every model class with a head, in every backend.

    A backend supplies four hooks: ``_open_session``, ``_to_host``, ``_to_native`` and ``_draw_seed``.
    """

    config: Any

    # -- hooks of the backend ----------------------------------------------------------------------------

    def _open_session(self, request: Request) -> Session:
        """A session on the device for this request; it encodes the source where there is one."""
        raise NotOffered(f"{type(self).__name__} cannot generate: it has no language-modelling head.")

    def _to_host(self, native: Any) -> np.ndarray:
        """A NumPy array of one of the device."""
        raise NotImplementedError

    def _to_native(self, array: np.ndarray) -> Any:
        """The device's array of a NumPy array."""
        raise NotImplementedError

    def _draw_seed(self) -> int:
        """A seed drawn from the framework's own generator, so that its ``manual_seed`` rules sampling."""
        raise NotImplementedError

    # -- settings ----------------------------------------------------------------------------------------

    @property
    def generation_config(self) -> GenerationConfig:
        """The settings that ``generate`` starts from: the checkpoint's file, or else ``config``'s old fields.

        Those of ``config`` are read again until this object is changed, so both may be edited.
        """
        kept, fingerprint = self.__dict__.get("_generation_config", (None, None))
        if kept is None or (kept._from_model_config and hash(kept) == fingerprint):
            fresh = GenerationConfig.from_model_config(self.config)
            if kept is None or fresh != kept:
                kept = fresh
            self.__dict__["_generation_config"] = (kept, hash(kept))
        return kept

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        self.__dict__["_generation_config"] = (value, None)

    def can_generate(self) -> bool:
        """Whether this class has a language-modelling head."""
        return getattr(self, "kind", None) in ("conditional", "causal")

    def _load_generation_config(self, folder: Path) -> None:
        """Takes ``generation_config.json`` of a checkpoint's folder, where there is one."""
        path = folder / FILE
        if self.can_generate() and path.is_file():
            config: GenerationConfig = GenerationConfig.from_dict(read_json(path))
            self.generation_config = config.with_special_tokens_of(self.config)

    def _save_generation_config(self, folder: Path) -> None:
        """Writes ``generation_config.json`` beside a saved model."""
        if self.can_generate():
            self.generation_config.save_pretrained(folder)

    # -- generate ----------------------------------------------------------------------------------------

    def generate(
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Sequence[Any] | None = None,
        stopping_criteria: Sequence[Any] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Sequence[int]] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Any = None,
        streamer: Any = None,
        negative_prompt_ids: Any = None,
        negative_prompt_attention_mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Says what follows: a summary of each text.

        It runs without gradients and in the mode (training or not) that the model is in.

        Args:
            inputs: [B, S], the source's tokens (the prompt's, for ``PegasusForCausalLM``). Also ``input_ids``.
            generation_config: settings instead of the model's own.
            logits_processor: functions (ids, scores) → scores, with the device's arrays, after all rules.
            stopping_criteria: functions (ids, scores) → bool; the first True stops all texts.
            prefix_allowed_tokens_fn: function (text, ids) → tokens that may come next.
            synced_gpus: not offered.
            assistant_model: a smaller model that drafts; the words are those of greedy search.
            streamer: gets each token as it comes: ``put(tokens)``, ``end()``. One text, no beams.
            negative_prompt_ids: not offered.
            negative_prompt_attention_mask: not offered.
            **kwargs: any setting of ``GenerationConfig``, and arguments of the model: ``attention_mask``,
                ``inputs_embeds``, ``encoder_outputs``, ``decoder_input_ids``, ``decoder_attention_mask``,
                ``head_mask``, ``decoder_head_mask``, ``cross_attn_head_mask``, ``past_key_values``;
                for ``PegasusForCausalLM`` also ``encoder_hidden_states`` and ``encoder_attention_mask``.

        Returns:
            Tokens [B · num_return_sequences, T], the start token first; or, with ``return_dict_in_generate``,
            one of the records of ``generation.outputs``.

        Raises:
            BadSetting: a setting that makes no sense, or an argument that nothing knows.
            UnsupportedArgument: an argument that is refused by name.
        """
        if not self.can_generate():
            raise NotOffered(f"{type(self).__name__} cannot generate: use PegasusForConditionalGeneration.")
        if synced_gpus:
            raise UnsupportedArgument("synced_gpus is not offered; see docs/coming-from-transformers.md.")
        kwargs.update(
            negative_prompt_ids=negative_prompt_ids,
            negative_prompt_attention_mask=negative_prompt_attention_mask,
        )
        explicit_length = kwargs.get("max_length") is not None
        settings, for_model = settings_for(generation_config or self.generation_config, kwargs)
        self._complete(settings)
        request, prompt_BT, sources = self._read_inputs(inputs, for_model, settings)
        limits = limits_for(settings, prompt_BT.shape[1], explicit_length)
        strategy = choose(settings)
        if streamer is not None and (
            settings.num_beams > 1 or len(prompt_BT) * settings.num_return_sequences > 1
        ):
            raise BadSetting(
                "a streamer follows one text without beams: beams change their mind about earlier words."
            )
        watched = streamer is not None or bool(stopping_criteria) or bool(logits_processor)
        listeners = self._listeners(settings, stopping_criteria or (), streamer, prompt_BT)
        guests = Guests(tuple(logits_processor or ()), prefix_allowed_tokens_fn, self._to_native)
        plan = self._plan(settings, limits, listeners, all_rows=watched or request.records.any)
        if assistant_model is not None:
            raise UnsupportedArgument(
                "assistant_model is not offered yet; see docs/coming-from-transformers.md."
            )
        rows_BT = np.repeat(prompt_BT, _copies(plan), axis=0)
        rules = rules_for(settings, limits, Trail(rows_BT, _copies(plan)), sources, guests)
        session = self._open_session(request)
        found = converse(strategy.begin(prompt_BT, replace(plan, rules=Rules(rules)), settings), session)
        if streamer is not None:
            streamer.end()
        return self._returned(found, strategy, settings, getattr(session, "recorded", None))

    def _complete(self, settings: GenerationConfig) -> None:
        if settings.pad_token_id is None and settings.eos_token_id is not None:
            settings.pad_token_id = token_list(settings.eos_token_id)[0]

    def _plan(
        self, settings: GenerationConfig, limits: Limits, listeners: Sequence[Listener], all_rows: bool
    ) -> Plan:
        normalization = settings.length_normalization or settings.search
        return Plan(
            max_length=limits.longest,
            eos=token_list(settings.eos_token_id),
            pad=settings.pad_token_id or 0,
            beams=settings.num_beams,
            groups=settings.num_beam_groups,
            returned=settings.num_return_sequences,
            length_penalty=settings.length_penalty,
            length_normalization=normalization,
            early_stopping=settings.early_stopping,
            diversity_penalty=settings.diversity_penalty,
            listeners=listeners,
            all_rows=all_rows,
        )

    def _listeners(
        self, settings: GenerationConfig, criteria: Sequence[Any], streamer: Any, prompt_BT: np.ndarray
    ) -> list[Listener]:
        listeners: list[Listener] = []
        if streamer is not None:
            streamer.put(self._to_native(prompt_BT))

            def stream(ids_RT: np.ndarray) -> bool:
                streamer.put(self._to_native(ids_RT[:, -1]))
                return False

            listeners.append(stream)
        if settings.max_time is not None:
            end = time.monotonic() + settings.max_time
            listeners.append(lambda ids_RT: time.monotonic() > end)
        for criterion in criteria:
            listeners.append(
                lambda ids_RT, call=criterion: bool(np.any(_truth(call(self._to_native(ids_RT), None))))
            )
        return listeners

    def _read_inputs(
        self, inputs: Any, for_model: dict[str, Any], settings: GenerationConfig
    ) -> tuple[Request, np.ndarray, list[np.ndarray] | None]:
        """The request for a session, the decoder's prompt, and the tokens of the sources if they are known."""
        given = {name: value for name, value in for_model.items() if name != "decoder_input_ids"}
        if inputs is not None and "input_ids" in given:
            raise BadSetting("the source is given twice, as `inputs` and as `input_ids`: give one of them.")
        if inputs is not None:
            given["input_ids"] = inputs
        return_dict = settings.return_dict_in_generate
        records = Records(
            scores=bool(settings.output_scores and return_dict),
            attentions=bool(settings.output_attentions and return_dict),
            hidden_states=bool(settings.output_hidden_states and return_dict),
        )
        request = Request(**given, use_cache=bool(settings.use_cache), records=records)
        ids_BS = None if request.input_ids is None else self._to_host(request.input_ids)
        if getattr(self, "kind", None) == "causal":
            return self._read_causal(request, ids_BS, settings)
        if request.encoder_hidden_states is not None or request.encoder_attention_mask is not None:
            raise BadSetting(
                "encoder states are given to this model as encoder_outputs, their mask as attention_mask."
            )
        count = self._count_texts(request, ids_BS)
        prompt_BT, decoder_mask = self._prompt(for_model.get("decoder_input_ids"), request, count, settings)
        request = replace(request, decoder_attention_mask=decoder_mask)
        if request.attention_mask is None and ids_BS is not None:
            request = replace(request, attention_mask=self._usual_mask(ids_BS, settings))
        return request, prompt_BT, None if ids_BS is None else list(ids_BS)

    def _count_texts(self, request: Request, ids_BS: np.ndarray | None) -> int:
        sources = (ids_BS, request.inputs_embeds, request.encoder_outputs)
        if all(source is None for source in sources):
            raise BadSetting(
                "there is nothing to summarize: give input_ids, inputs_embeds or encoder_outputs."
            )
        if ids_BS is not None and request.inputs_embeds is not None:
            raise BadSetting(
                "the source is given twice, as input_ids and as inputs_embeds: give one of them."
            )
        if ids_BS is not None:
            if ids_BS.ndim != 2:
                raise BadSetting(f"input_ids must be [texts, tokens], found the shape {ids_BS.shape}.")
            return len(ids_BS)
        states = request.inputs_embeds if request.inputs_embeds is not None else request.encoder_outputs[0]
        return int(states.shape[0])

    def _usual_mask(self, ids_BS: np.ndarray, settings: GenerationConfig) -> Any:
        """Padding is masked, unless padding and EOS are the same token."""
        pad = settings.pad_token_id
        masked = pad is not None and pad not in token_list(settings.eos_token_id)
        mask_BS = ids_BS != pad if masked else np.ones(ids_BS.shape, dtype=bool)
        return self._to_native(mask_BS.astype(np.int64))

    def _prompt(
        self, decoder_input_ids: Any, request: Request, count: int, settings: GenerationConfig
    ) -> tuple[np.ndarray, Any]:
        """What the decoder starts from: the start token, put before a prompt that lacks it."""
        start = settings.decoder_start_token_id
        start = settings.bos_token_id if start is None else start
        start = getattr(self.config, "decoder_start_token_id", None) if start is None else start
        if start is None:
            raise BadSetting(
                "no decoder_start_token_id and no bos_token_id is set: the decoder cannot start."
            )
        starts_B1 = np.full((count, 1), start, dtype=np.int64)
        mask = request.decoder_attention_mask
        if decoder_input_ids is None:
            return starts_B1, mask
        prompt_BT = self._to_host(decoder_input_ids).astype(np.int64)
        if (prompt_BT[:, 0] != start).all():
            prompt_BT = np.concatenate([starts_B1, prompt_BT], axis=1)
            if mask is not None:
                mask_BT = self._to_host(mask)
                mask = self._to_native(np.concatenate([np.ones_like(mask_BT[:, :1]), mask_BT], axis=1))
        return prompt_BT, mask

    def _read_causal(
        self, request: Request, ids_BS: np.ndarray | None, settings: GenerationConfig
    ) -> tuple[Request, np.ndarray, list[np.ndarray] | None]:
        if request.inputs_embeds is not None or request.encoder_outputs is not None:
            raise BadSetting(
                "PegasusForCausalLM goes on from input_ids; encoder states are encoder_hidden_states."
            )
        if settings.encoder_no_repeat_ngram_size:
            raise BadSetting(
                "encoder_no_repeat_ngram_size looks at a source, and a decoder alone has none."
            )
        if ids_BS is None:
            if settings.bos_token_id is None:
                raise BadSetting("there is nothing to go on from: give input_ids or set bos_token_id.")
            states = request.encoder_hidden_states
            ids_BS = np.full((1 if states is None else states.shape[0], 1), settings.bos_token_id)
        if request.attention_mask is None:
            request = replace(request, attention_mask=self._usual_mask(ids_BS, settings))
        return request, ids_BS.astype(np.int64), list(ids_BS)

    def _returned(
        self, found: Hypotheses, strategy: Strategy, settings: GenerationConfig, recorded: Recorded | None
    ) -> Any:
        sequences = self._to_native(found.sequences_NT)
        if not settings.return_dict_in_generate:
            return sequences
        values = {
            "sequences": sequences,
            "sequences_scores": self._to_native(found.scores_N),
            "finished": self._to_native(found.finished_N),
        }
        causal = getattr(self, "kind", None) == "causal"
        if recorded is not None:
            values.update(_as_fields(recorded, causal))
        record = strategy.decoder_only if causal else strategy.encoder_decoder
        if "beam_indices" in record.__dataclass_fields__ and found.beams_NT is not None:
            values["beam_indices"] = self._to_native(found.beams_NT)
        return record(**values)


def _copies(plan: Plan) -> int:
    """Rows per text that a search starts with."""
    return max(plan.beams, plan.returned) if plan.all_rows else 1


def _truth(answer: Any) -> Any:
    """A criterion of later versions answers per row; all rows must agree then."""
    return answer.all() if hasattr(answer, "all") else answer


def _as_fields(recorded: Recorded, causal: bool) -> dict[str, Any]:
    def steps(values: list[Any]) -> tuple[Any, ...] | None:
        return tuple(values) or None

    fields = {"scores": steps(recorded.scores)}
    if causal:
        fields["attentions"] = steps(recorded.attentions)
        fields["hidden_states"] = steps(recorded.hidden_states)
        return fields
    fields["decoder_attentions"] = steps(recorded.attentions)
    fields["cross_attentions"] = steps(recorded.cross_attentions)
    fields["decoder_hidden_states"] = steps(recorded.hidden_states)
    fields["encoder_attentions"] = recorded.encoder_attentions
    fields["encoder_hidden_states"] = recorded.encoder_hidden_states
    return fields
