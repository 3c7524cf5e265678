"""The searches as methods of their own, as transformers 4.34 has them: ``greedy_search`` and its kin.

``generate`` settles settings and calls a search. Whoever calls one of these does that himself: rows are
repeated for beams and returned sequences, the encoder has run (``encoder_outputs``), and processors come as
``logits_processor``. Lengths come as ``stopping_criteria``; ``max_length`` beside them is the older way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation import outputs
from pegasus.generation.arguments import Limits
from pegasus.generation.beam_scorers import ConstrainedBeamSearchScorer
from pegasus.generation.config import GenerationConfig
from pegasus.generation.inputs import Inputs, records_for
from pegasus.generation.model_inputs import Request
from pegasus.generation.planning import search_settings_for, stream_to
from pegasus.generation.processors.logits_processors import Called, LogitsProcessors
from pegasus.generation.search.assisted import Drafted, ModelDrafter
from pegasus.generation.search.constrained import Constrained
from pegasus.generation.search.contrastive import Contrastive
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.sampling import Noise, Sampling
from pegasus.generation.search.scored_beam import Callers, ScoredBeams
from pegasus.generation.search.search_settings import Listener, SearchSettings
from pegasus.generation.session import Hypotheses, Records, Search, run_search
from pegasus.generation.stopping import listeners_for
from pegasus.spec.outputs import BaseModelOutput

_RECORDED = ("output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate")
#: Arguments of these methods that are settings; whatever else has a name is for the model.
_SETTINGS = ("pad_token_id", "eos_token_id", *_RECORDED)
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Prepared:
    """One call, read.

    Attributes:
        inputs: the request and the rows.
        settings: what is recorded, special tokens.
        search_settings: what a search must be told.
        more: arguments that only some searches know.
    """

    inputs: Inputs
    settings: GenerationConfig
    search_settings: SearchSettings
    more: dict[str, Any]


class SearchMethods:
    """The methods, mixed into ``GenerationMixin``, which supplies the hooks.

    All take ``input_ids`` [R, T] (what the decoder goes on from), ``logits_processor``,
    ``stopping_criteria``, ``max_length``, ``pad_token_id``, ``eos_token_id``, ``output_attentions``,
    ``output_hidden_states``, ``output_scores``, ``return_dict_in_generate`` (defaults: the model's
    ``generation_config``), ``synced_gpus`` (without effect) and arguments of the model. They return what
    ``generate`` returns.
    """

    config: Any
    generation_config: GenerationConfig
    to_native: Callable[..., Any]
    to_host: Callable[..., np.ndarray]
    open_session: Callable[..., Any]
    draw_seed: Callable[[], int]
    _returned: Callable[..., Any]

    def greedy_search(
        self,
        input_ids: Any,
        logits_processor: Sequence[Any] | None = None,
        streamer: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Each row says its most likely token, one after another."""
        call = self._prepare(input_ids, kwargs, logits_processor, streamer)
        return self._search(
            call, Greedy(call.inputs.prompt_BT, call.search_settings), "GreedySearch", streamer
        )

    def sample(
        self, input_ids: Any, logits_processor: Sequence[Any] | None = None,
        logits_warper: Sequence[Any] | None = None, streamer: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Each row draws its next token from what ``logits_warper`` leaves.

        The same seed draws what ``generate`` with the same filters draws.
        """
        both = (*(logits_processor or ()), *(logits_warper or ()))
        call = self._prepare(input_ids, kwargs, both, streamer)
        search = Sampling(call.inputs.prompt_BT, call.search_settings, (), None, self.draw_seed())
        return self._search(call, search, "Sample", streamer)

    def contrastive_search(
        self, input_ids: Any, top_k: int = 1, penalty_alpha: float = 0.0,
        logits_processor: Sequence[Any] | None = None, logits_warper: Sequence[Any] | None = None,
        streamer: Any = None, sequential: bool | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Of ``top_k`` likely tokens the one least like what was said; ``sequential`` has no effect."""
        both = (*(logits_processor or ()), *(logits_warper or ()))
        call = self._prepare(input_ids, kwargs, both, streamer)
        search = Contrastive(call.inputs.prompt_BT, call.search_settings, penalty_alpha, top_k)
        return self._search(call, search, "ContrastiveSearch", streamer)

    def assisted_decoding(
        self, input_ids: Any, assistant_model: Any, do_sample: bool = False,
        logits_processor: Sequence[Any] | None = None, logits_warper: Sequence[Any] | None = None,
        streamer: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Greedy search, or sampling, along guesses of a smaller model. One row.

        The model's ``assistant_encoder_outputs`` are what the smaller model's encoder made of the text;
        without them it reads those of the model.
        """
        both = (*(logits_processor or ()), *((logits_warper or ()) if do_sample else ()))
        call = self._prepare(input_ids, kwargs, both, streamer)
        if len(call.inputs.prompt_BT) != 1:
            raise BadSetting("assisted_decoding takes one row: call it text by text, or call generate.")
        request = replace(call.inputs.request, records=Records(), use_cache=True)
        states = call.more.get("assistant_encoder_outputs")
        request = request if states is None else replace(request, encoder_outputs=states)
        drafter = ModelDrafter(assistant_model.open_session(request), call.search_settings)
        prompt = call.inputs.prompt_BT
        line = (
            Sampling(prompt, call.search_settings, (), None, self.draw_seed())
            if do_sample
            else Greedy(prompt, call.search_settings)
        )
        search = Drafted(prompt, call.search_settings, drafter, line.choose, line.count)
        cached = replace(
            call, inputs=replace(call.inputs, request=replace(call.inputs.request, use_cache=True))
        )
        return self._search(cached, search, "Sample" if do_sample else "GreedySearch", streamer)

    def beam_search(
        self, input_ids: Any, beam_scorer: Any, logits_processor: Sequence[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Beam search led by a scorer; the beams of a text are neighbouring rows."""
        call = self._prepare(input_ids, kwargs)
        search = self._scored(call, beam_scorer, logits_processor)
        return self._search(call, search, "BeamSearch")

    def group_beam_search(
        self, input_ids: Any, beam_scorer: Any, logits_processor: Sequence[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Diverse beam search: groups choose in turn, and a processor makes what is taken less likely."""
        return self.beam_search(input_ids, beam_scorer, logits_processor, **kwargs)

    def beam_sample(
        self, input_ids: Any, beam_scorer: Any, logits_processor: Sequence[Any] | None = None,
        logits_warper: Sequence[Any] | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Beam search in which continuations are drawn."""
        call = self._prepare(input_ids, kwargs)
        noise = Noise(self.draw_seed())
        search = self._scored(call, beam_scorer, logits_processor, logits_warper, noise=noise)
        return self._search(call, search, "BeamSample")

    def constrained_beam_search(
        self, input_ids: Any, constrained_beam_scorer: Any, logits_processor: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Beam search in which things must be said."""
        scorer = constrained_beam_scorer
        if not isinstance(scorer, ConstrainedBeamSearchScorer):
            call = self._prepare(input_ids, kwargs)
            return self._search(
                call, self._scored(call, scorer, logits_processor, whole=True), "BeamSearch"
            )
        call = self._prepare(input_ids, kwargs, logits_processor)
        inputs = one_row_a_text(call.inputs, scorer.num_beams)
        known = {name: getattr(call.settings, name) for name in _SETTINGS}
        settings = GenerationConfig(**known, **scorer.settings)
        limits = Limits(inputs.prompt_BT.shape[1], call.search_settings.max_length, 0)
        listeners = call.search_settings.listeners
        search_settings = search_settings_for(settings, limits, listeners, 0, all_rows=True)
        search_settings = replace(search_settings, processors=call.search_settings.processors)
        search = Constrained(inputs.prompt_BT, search_settings, scorer.constraints)
        return self._search(replace(call, inputs=inputs), search, "BeamSearch")

    # -- what they share ---------------------------------------------------------------------------------

    def _prepare(
        self,
        input_ids: Any,
        kwargs: dict[str, Any],
        guests: Sequence[Any] | None = None,
        streamer: Any = None,
    ) -> Prepared:
        causal = getattr(self, "kind", None) == "causal"
        settings = self._recorded_settings(kwargs)
        criteria, most = kwargs.pop("stopping_criteria", None) or (), kwargs.pop("max_length", None)
        kwargs.pop("synced_gpus", None)
        more = {name: kwargs.pop(name) for name in ("assistant_encoder_outputs",) if name in kwargs}
        prompt_BT = np.asarray(self.to_host(input_ids)).astype(np.int64)
        inputs = Inputs(self._request(kwargs, settings, causal), prompt_BT, None)
        limits = Limits(prompt_BT.shape[1], self._longest(most, criteria, settings), 0)
        listeners: list[Listener] = listeners_for(criteria, None, None, None, self.to_native)
        if streamer is not None:
            listeners.append(stream_to(streamer, self.to_native))
        search_settings = search_settings_for(settings, limits, listeners, 0, all_rows=True)
        processors = LogitsProcessors([Called(processor) for processor in guests or ()])
        return Prepared(inputs, settings, replace(search_settings, processors=processors), more)

    def _recorded_settings(self, kwargs: dict[str, Any]) -> GenerationConfig:
        given = {name: kwargs.pop(name, None) for name in _SETTINGS}
        own = {name: getattr(self.generation_config, name) for name in _SETTINGS}
        chosen = {name: own[name] if value is None else value for name, value in given.items()}
        # Without beams there may be one sequence only; the rows are counted already.
        return GenerationConfig(**chosen, max_length=self.generation_config.max_length)

    def _longest(self, most: int | None, criteria: Sequence[Any], settings: GenerationConfig) -> int:
        if most is not None:
            warnings.warn(
                "max_length is an older argument of this method: pass "
                "stopping_criteria=StoppingCriteriaList([MaxLengthCriteria(max_length=...)])",
                FutureWarning,
                stacklevel=4,
            )
        limits = (most, *(getattr(one, "max_length", None) for one in criteria))
        lengths = [limit for limit in limits if isinstance(limit, int)]
        if lengths:
            return min(lengths)
        return _ENDLESS if len(criteria) else int(settings.max_length)

    def _request(self, kwargs: dict[str, Any], settings: GenerationConfig, causal: bool) -> Request:
        use_cache = kwargs.pop("use_cache", None)
        unknown = sorted(set(kwargs) - Request.names())
        if unknown:
            raise BadSetting(f"the model takes no {unknown}: see docs/coming-from-transformers.md")
        if not causal and kwargs.get("encoder_outputs") is None:
            raise BadSetting(
                "the encoder has not run: pass encoder_outputs=model.get_encoder()(...), one row for each "
                "row of input_ids, or call generate"
            )
        cached = bool(self.config.use_cache if use_cache is None else use_cache)
        return Request(**kwargs, use_cache=cached, records=records_for(settings))

    def _scored(
        self, call: Prepared, scorer: Any, processors: Sequence[Any] | None,
        warpers: Sequence[Any] | None = None, whole: bool = False, noise: Noise | None = None,
    ) -> ScoredBeams:  # fmt: skip
        callers = Callers(
            scorer, tuple(processors or ()), tuple(warpers or ()), self.to_native, self.to_host
        )
        return ScoredBeams(call.inputs.prompt_BT, call.search_settings, callers, whole, noise)

    def _search(self, call: Prepared, search: Search, returns: str, streamer: Any = None) -> Any:
        causal = getattr(self, "kind", None) == "causal"
        session = self.open_session(call.inputs.request)
        found: Hypotheses = run_search(search, session)
        if streamer is not None:
            streamer.end()
        record = getattr(outputs, returns + ("DecoderOnlyOutput" if causal else "EncoderDecoderOutput"))
        recorded = getattr(session, "recorded", None)
        return self._returned(found, record, call.settings, recorded, causal)


def one_row_a_text(inputs: Inputs, beams: int) -> Inputs:
    """The first of every ``beams`` rows, for searches that repeat rows themselves."""
    names = ("attention_mask", "decoder_attention_mask", "encoder_hidden_states", "encoder_attention_mask")
    values = {name: getattr(inputs.request, name) for name in names}
    cut = {name: value[::beams] for name, value in values.items() if value is not None}
    encoded = inputs.request.encoder_outputs
    if encoded is not None:
        seen = {name: getattr(encoded, name, None) for name in ("hidden_states", "attentions")}
        cut["encoder_outputs"] = BaseModelOutput(last_hidden_state=encoded[0][::beams], **seen)
    return Inputs(replace(inputs.request, **cut), inputs.prompt_BT[::beams], None)
