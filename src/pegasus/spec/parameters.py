"""Every parameter of a model: its name on the hub, its shape and its kind, from a configuration.

A backend is right when its state is exactly this table; a checkpoint is whole when its files hold it.
Matrices of shape ``(out, in)``, as PyTorch keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig

Model = Literal["bare", "conditional", "causal", "encoder", "decoder", "wrapped", "own"]

#: Parts of a model that can be saved and loaded on their own → what stands before their names.
STACKS: dict[str, str] = {"encoder": "", "decoder": "", "wrapped": "decoder."}


@dataclass(frozen=True)
class Parameter:
    """One leaf of a model.

    Attributes:
        name: the canonical name, which is the hub's state-dict name.
        shape: in PyTorch's order.
        kind: "embedding", "positions", "kernel", "bias", "scale" and "shift" (of a layer
            norm), "logits_bias", or "own" for what a subclass added.
    """

    name: str
    shape: tuple[int, ...]
    kind: str


def parameters(config: PegasusConfig, model: Model) -> dict[str, Parameter]:
    """What the state of a model holds, in the order of its state dict, tied copies left out.

    Args:
        config: the shapes.
        model: "bare" (``PegasusModel``), "conditional" (``PegasusForConditionalGeneration``), "causal"
            (``PegasusForCausalLM``, the decoder alone with a head), "encoder" or "decoder" (a stack alone),
            "wrapped" (a decoder at ``decoder``, the model inside ``PegasusForCausalLM``), or "own" (a
            model that a user made of such parts, of which nothing is known here).
    """
    return {leaf.name: leaf for leaf in _leaves(config, model)}


def copies(config: PegasusConfig, model: Model) -> dict[str, str]:
    """Names that some files carry and that are only other names: copy → the parameter it is tied to."""
    if model in STACKS or model == "own":
        return {}
    if model == "causal":
        embedding = "model.decoder.embed_tokens.weight"
        return {"lm_head.weight": embedding} if config.tie_word_embeddings else {}
    prefix = "" if model == "bare" else "model."
    embedding = f"{prefix}shared.weight"
    found = {f"{prefix}{side}.embed_tokens.weight": embedding for side in ("encoder", "decoder")}
    if model == "conditional" and config.tie_word_embeddings:
        found["lm_head.weight"] = embedding
    return found


def optional(leaf: Parameter) -> bool:
    """Whether a whole checkpoint may lack it: positions are computed, the bias of the logits is zero."""
    return leaf.kind in ("positions", "logits_bias")


def _leaves(config: PegasusConfig, model: Model) -> Iterator[Parameter]:
    embedding = (config.vocab_size, config.d_model)
    if model == "own":
        return
    if model in STACKS:
        yield from _stack(config, STACKS[model], model != "encoder", own_embedding=True)
        return
    if model == "causal":
        yield from _stack(config, "model.decoder.", True, own_embedding=True)
    else:
        prefix = "" if model == "bare" else "model."
        if model == "conditional":
            yield Parameter("final_logits_bias", (1, config.vocab_size), "logits_bias")
        yield Parameter(f"{prefix}shared.weight", embedding, "embedding")
        yield from _stack(config, f"{prefix}encoder.", decoder=False)
        yield from _stack(config, f"{prefix}decoder.", decoder=True)
    if model != "bare" and not config.tie_word_embeddings:
        yield Parameter("lm_head.weight", embedding, "kernel")


def _stack(
    config: PegasusConfig, prefix: str, decoder: bool, own_embedding: bool = False
) -> Iterator[Parameter]:
    """An encoder or a decoder: positions, layers, the last layer norm."""
    width = config.d_model
    if own_embedding:
        yield Parameter(f"{prefix}embed_tokens.weight", (config.vocab_size, width), "embedding")
    yield Parameter(f"{prefix}embed_positions.weight", (config.max_position_embeddings, width), "positions")
    for number in range(config.decoder_layers if decoder else config.encoder_layers):
        yield from _layer(config, f"{prefix}layers.{number}", decoder)
    yield from _norm(f"{prefix}layer_norm", width)


def _layer(config: PegasusConfig, prefix: str, decoder: bool) -> Iterator[Parameter]:
    width = config.d_model
    inner = config.decoder_ffn_dim if decoder else config.encoder_ffn_dim
    for attention in ("self_attn", "encoder_attn") if decoder else ("self_attn",):
        narrow = _attention_width(config, prefix, attention, decoder)
        for projection in ("k_proj", "v_proj", "q_proj"):
            yield from _dense(f"{prefix}.{attention}.{projection}", width, narrow)
        yield from _dense(f"{prefix}.{attention}.out_proj", narrow, width)
        yield from _norm(f"{prefix}.{attention}_layer_norm", width)
    yield from _dense(f"{prefix}.fc1", width, inner)
    yield from _dense(f"{prefix}.fc2", inner, width)
    yield from _norm(f"{prefix}.final_layer_norm", width)


def _attention_width(config: PegasusConfig, prefix: str, attention: str, decoder: bool) -> int:
    """The width of all heads together, less those that ``config.pruned_heads`` says are gone."""
    part = "cross" if attention == "encoder_attn" else "decoder" if decoder else "encoder"
    heads = config.decoder_attention_heads if decoder else config.encoder_attention_heads
    gone: Sequence[int] = (config.pruned_heads or {}).get(f"{part}.{prefix.rpartition('.')[2]}", ())
    width: int = config.d_model // heads * (heads - len(gone))
    return width


def _dense(prefix: str, into: int, out: int) -> Iterator[Parameter]:
    yield Parameter(f"{prefix}.weight", (out, into), "kernel")
    yield Parameter(f"{prefix}.bias", (out,), "bias")


def _norm(prefix: str, width: int) -> Iterator[Parameter]:
    yield Parameter(f"{prefix}.weight", (width,), "scale")
    yield Parameter(f"{prefix}.bias", (width,), "shift")
