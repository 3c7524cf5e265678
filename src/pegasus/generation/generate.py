"""``GenerationMixin``: settle the settings, open a session, choose a search, let them talk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.arguments import (
    Guests,
    Limits,
    check_tokens,
    limits_for,
    processors_for,
    settings_for,
    token_list,
)
from pegasus.generation.config import FILE, GenerationConfig
from pegasus.generation.inputs import Inputs, read_inputs
from pegasus.generation.model_inputs import Request
from pegasus.generation.options import AllGenerateOptions
from pegasus.generation.planning import check_together, search_settings_for, stream_to
from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.search.assisted import Drafter, ModelDrafter, SourceDrafter, joined
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.strategies import choose, drafted
from pegasus.generation.search_methods import SearchMethods
from pegasus.generation.session import (
    Decoder,
    DecoderSession,
    Hypotheses,
    Recorded,
    Records,
    Search,
    SearchRun,
    run_search,
    together,
)
from pegasus.generation.stepping import Generation
from pegasus.generation.stopping import listeners_for
from pegasus.generation.transition_scores import TransitionScores


@dataclass(frozen=True)
class _Drafting:
    """Searches with guesses, which go text by text."""

    result: Callable[[], Any]


class GenerationMixin(SearchMethods, TransitionScores):
    """``generate`` for every model class with a head, in every backend.

    A backend supplies four hooks: ``open_decoder``, ``to_host``, ``to_native`` and ``draw_seed``.
    """

    config: Any

    # -- hooks of the backend ----------------------------------------------------------------------------

    def open_decoder(self, request: Request) -> Decoder:
        """A decoder on the device for this request; it encodes the source where there is one.

        Arrays of the request are the caller's: native ones, or NumPy's.
        """
        raise NotImplementedError

    def to_host(self, native: Any) -> np.ndarray:
        """A NumPy array of one of the device."""
        raise NotImplementedError

    def to_native(self, array: np.ndarray) -> Any:
        """The device's array of a NumPy array."""
        raise NotImplementedError

    def draw_seed(self) -> int:
        """A seed drawn from the framework's own generator, so that its ``manual_seed`` rules sampling."""
        raise NotImplementedError

    # -- a session ---------------------------------------------------------------------------------------

    def open_session(self, request: Request) -> DecoderSession:
        """Who answers a search about this request.

        Raises:
            NotOffered: the model has no head, or cannot do what the request asks for.
        """
        if not self.can_generate():
            raise NotOffered(f"{type(self).__name__} cannot generate: it has no language-modelling head.")
        causal = getattr(self, "kind", None) == "causal"
        mask = request.attention_mask if causal else request.decoder_attention_mask
        return DecoderSession(
            self.open_decoder(request),
            self.to_native,
            self.to_host,
            records=request.records,
            use_cache=request.use_cache,
            mask_RT=None if mask is None else np.asarray(self.to_host(mask)).astype(np.int64),
        )

    def open_run(self, search: Search, request: Request) -> tuple[SearchRun, Recorded | None]:
        """A search under way over a session, and where it is recorded.

        A backend that computes several steps of some searches at once gives a run of its own for these.
        """
        session = self.open_session(request)
        return SearchRun(search, session), session.recorded

    # -- settings ----------------------------------------------------------------------------------------

    @property
    def generation_config(self) -> GenerationConfig:
        """The settings that ``generate`` starts from: the checkpoint's file, or ``config``'s old fields.

        Those of ``config`` are read again until this object is changed, so both may be edited.
        """
        kept, fingerprint = self.__dict__.get("_generation_config", (None, None))
        if kept is None or (kept._from_model_config and hash(kept) == fingerprint):
            fresh = GenerationConfig.from_model_config(self.config)
            if kept is None or fresh != kept:
                kept = fresh
            self.__dict__["_generation_config"] = (kept, hash(kept))
        settings: GenerationConfig = kept
        return settings

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        self.__dict__["_generation_config"] = (value, None)

    @classmethod
    def can_generate(cls) -> bool:
        """Whether this class has a language-modelling head."""
        return getattr(cls, "kind", None) in ("conditional", "causal")

    def _load_generation_config(self, folder: Path) -> None:
        """Takes ``generation_config.json`` of a checkpoint's folder, where there is one."""
        path = folder / FILE
        if self.can_generate() and path.is_file():
            config: GenerationConfig = GenerationConfig.from_file(path)
            self.generation_config = config.with_special_tokens_of(self.config)

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
        **kwargs: Unpack[AllGenerateOptions],
    ) -> Any:
        """Says what follows: a summary of each text.

        It runs without gradients and in the mode (training or not) that the model is in.

        Args:
            inputs: [B, S], the source's tokens (for ``PegasusForCausalLM`` the prompt's), or ``input_ids``.
            generation_config: settings instead of the model's own.
            logits_processor: functions (ids, scores) → scores, with the device's arrays, after all others.
            stopping_criteria: functions (ids, scores) → bool; the first True stops all texts.
            prefix_allowed_tokens_fn: function (text, ids) → tokens that may come next.
            synced_gpus: without effect: a search that is done does not go on for the sake of others.
            assistant_model: a smaller model that drafts; the words are those of greedy search.
            streamer: gets each token as it comes: ``put(tokens)``, ``end()``. One text, no beams.
            negative_prompt_ids: not offered.
            negative_prompt_attention_mask: not offered.
            **kwargs: any setting of ``GenerationConfig``, and arguments of the model: ``attention_mask``,
                ``inputs_embeds``, ``encoder_outputs``, ``decoder_input_ids``, ``decoder_attention_mask``,
                ``head_mask``, ``decoder_head_mask``, ``cross_attn_head_mask``, ``past_key_values``;
                for ``PegasusForCausalLM`` also ``encoder_hidden_states`` and ``encoder_attention_mask``;
                the ``tokenizer`` that ``stop_strings`` need; and ``faithful``, what may be said about a
                source (``pegasus.summarizer.faithful.faithful_to``).

        Returns:
            Tokens [B · num_return_sequences, T], the start token first; with ``return_dict_in_generate``
            one of the records of ``generation.outputs``.

        Raises:
            BadSetting: a setting that makes no sense, or an argument that nothing knows.
            UnsupportedArgument: an argument that is refused by name.
        """
        started = self._start(
            inputs,
            generation_config,
            logits_processor,
            stopping_criteria,
            prefix_allowed_tokens_fn,
            synced_gpus,
            assistant_model,
            streamer,
            negative_prompt_ids,
            negative_prompt_attention_mask,
            **kwargs,
        )
        return started.result()

    def start_generate(self, *args: Any, deadline: float | None = None, **kwargs: Any) -> Generation:
        """Begins what ``generate`` does and returns it before the first step.

        Args:
            *args: those of ``generate``.
            deadline: the time (``time.monotonic()``) from which no step is computed any more.
            **kwargs: those of ``generate``.

        Raises:
            NotOffered: drafting, which goes text by text.
            BadSetting: see ``generate``.
            UnsupportedArgument: see ``generate``.
        """
        started = self._start(*args, **kwargs)
        if not isinstance(started, Generation):
            raise NotOffered(
                "drafting goes text by text and cannot be stepped: leave out assistant_model and "
                "prompt_lookup_num_tokens."
            )
        started._run.deadline = deadline
        return started

    def _start(
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
    ) -> Generation | _Drafting:
        kwargs.update(
            negative_prompt_ids=negative_prompt_ids,
            negative_prompt_attention_mask=negative_prompt_attention_mask,
        )
        tokenizer, faithful = kwargs.pop("tokenizer", None), kwargs.pop("faithful", None)
        explicit_length = kwargs.get("max_length") is not None
        settings, for_model = self._settle(generation_config, kwargs)
        causal = getattr(self, "kind", None) == "causal"
        read = read_inputs(self, inputs, for_model, settings, causal)
        strategy = choose(settings)
        assisted = assistant_model is not None
        check_together(settings, strategy, streamer, len(read.prompt_BT), tokenizer)
        limits = limits_for(settings, read.prompt_BT.shape[1], explicit_length)
        guests = Guests(tuple(logits_processor or ()), prefix_allowed_tokens_fn, self.to_native, faithful)
        listeners = listeners_for(
            stopping_criteria or (), settings.max_time, settings.stop_strings, tokenizer, self.to_native
        )
        if streamer is not None:
            streamer.put(self.to_native(read.prompt_BT))
            listeners.append(stream_to(streamer, self.to_native))
        watched = bool(listeners or logits_processor) or read.request.records.any
        seed = self._seed(settings)
        search_settings = search_settings_for(settings, limits, listeners, seed, all_rows=watched)

        def finish(found: Hypotheses, recorded: Recorded | None) -> Any:
            if streamer is not None:
                streamer.end()
            prevented = guests.refused if faithful is not None else None
            return self._returned(found, strategy.record(causal), settings, recorded, causal, prevented)

        if assisted or settings.prompt_lookup_num_tokens:
            return _Drafting(
                lambda: finish(
                    *self._draft(read, search_settings, settings, limits, guests, assistant_model)
                )
            )
        processors = LogitsProcessors(processors_for(settings, limits, read.sources, guests))
        search = strategy.begin(read.prompt_BT, replace(search_settings, processors=processors), settings)
        run, recorded = self.open_run(search, read.request)
        return Generation(run, lambda: finish(run.result(), recorded))

    def _settle(
        self, config: GenerationConfig | None, kwargs: dict[str, Any]
    ) -> tuple[GenerationConfig, dict[str, Any]]:
        """The settings of a call and its arguments for the model."""
        if not self.can_generate():
            raise NotOffered(f"{type(self).__name__} cannot generate: use PegasusForConditionalGeneration.")
        settings, for_model = settings_for(config or self.generation_config, kwargs)
        check_tokens(settings, self.config.vocab_size)
        if settings.pad_token_id is None and settings.eos_token_id is not None:
            settings.pad_token_id = token_list(settings.eos_token_id)[0]
        return settings, for_model

    def _seed(self, settings: GenerationConfig) -> int:
        if settings.seed is not None:
            return int(settings.seed)
        return self.draw_seed() if settings.do_sample else 0

    def _draft(
        self,
        read: Inputs,
        search_settings: SearchSettings,
        settings: GenerationConfig,
        limits: Limits,
        guests: Guests,
        assistant: Any,
    ) -> tuple[Hypotheses, Recorded | None]:
        """Searches along one line with guesses, text by text: texts accept guesses of different lengths."""
        found, recorded = [], []
        for text in range(len(read.prompt_BT)):
            one = read.of_text(text)
            of_text = replace(
                search_settings,
                processors=LogitsProcessors(processors_for(settings, limits, one.sources, guests)),
            )
            drafter = self._drafter(one, of_text, settings, assistant)
            session = self.open_session(one.request)
            search = drafted(one.prompt_BT, of_text, drafter, settings)
            found.append(run_search(search, session))
            recorded.append(session.recorded)
        if len(found) == 1:
            return found[0], recorded[0]
        parts = [one.followed(each, self.to_native) for one, each in zip(recorded, found)]
        return joined(found, search_settings.pad), together(parts, self.to_host, self.to_native)

    def _drafter(
        self, one: Inputs, search_settings: SearchSettings, settings: GenerationConfig, assistant: Any
    ) -> Drafter:
        if assistant is None:
            if one.sources is None:
                raise BadSetting("prompt_lookup_num_tokens looks into the source: give input_ids.")
            source = one.sources[0]
            return SourceDrafter(source[source != search_settings.pad], settings.prompt_lookup_num_tokens)
        if assistant.config.vocab_size != self.config.vocab_size:
            raise BadSetting(
                f"the assistant knows {assistant.config.vocab_size} tokens and the model "
                f"{self.config.vocab_size}: both must have the same vocabulary."
            )
        if one.request.input_ids is None and one.request.encoder_hidden_states is None:
            raise BadSetting("the assistant reads the source itself: give input_ids.")
        return ModelDrafter(
            assistant.open_session(replace(one.request, records=Records())), search_settings
        )

    def _returned(
        self,
        found: Hypotheses,
        record: Any,
        settings: GenerationConfig,
        recorded: Recorded | None,
        causal: bool,
        prevented: list[int] | None = None,
    ) -> Any:
        sequences = self.to_native(found.sequences_NT)
        if not settings.return_dict_in_generate:
            return sequences
        values = {
            "sequences": sequences,
            "sequences_scores": self.to_native(found.scores_N),
            "finished": self.to_native(found.finished_N),
        }
        if prevented is not None:
            values["prevented"] = self.to_native(np.array(prevented, dtype=np.int64))
        if recorded is not None:
            values.update(recorded.followed(found, self.to_native).fields(causal))
        if "beam_indices" in record.__dataclass_fields__ and found.beams_NT is not None:
            values["beam_indices"] = self.to_native(found.beams_NT)
        return record(**values)
