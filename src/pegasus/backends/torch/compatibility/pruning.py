"""Cutting attention heads out of a model for good."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from pegasus.backends.torch.model.layers import Attention
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pegasus.spec.config import PegasusConfig


class Pruning:
    """``prune_heads``, mixed into every model class."""

    config: PegasusConfig
    kind: ClassVar[Any]

    def prune_heads(self, heads_to_prune: Mapping[Any, Collection[int]]) -> None:
        """Cut attention heads out for good.

        Args:
            heads_to_prune: for a place the numbers of its heads, as they were before any pruning. A place
                is a layer's number (the encoder's self-attention, or the decoder's in a model without
                encoder), or a pair such as ``("encoder", 3)``, ``("decoder", 0)``, ``("cross", 0)``. It is
                written to ``config.pruned_heads`` (``"cross.0": [1, 2]``), so that the model loads again.
        """
        already = copy.deepcopy(self.config.pruned_heads)
        for place, heads in heads_to_prune.items():
            key = self._place(place)
            gone = set(already.get(key, []))
            kept = [head for head in range(self._original_heads(key)) if head not in gone]
            wrong = sorted(set(heads) - set(kept) - gone)
            if wrong:
                raise BadSetting(f"heads {wrong} of {key} cannot be pruned: it has heads {kept}")
            fresh = set(heads) - gone
            if fresh == set(kept):
                raise BadSetting(f"all heads of {key} would be pruned: leave at least one")
            self._attention(key).prune_heads([kept.index(head) for head in fresh])
            already[key] = sorted(gone | fresh)
        self.config.pruned_heads = already

    def _place(self, place: Any) -> str:
        default = "encoder" if self.config.is_encoder_decoder and self.kind != "causal" else "decoder"
        part, layer = (default, place) if not isinstance(place, tuple) else place
        if isinstance(place, str):
            part, _, layer = place.partition(".")
        count = self.config.encoder_layers if part == "encoder" else self.config.decoder_layers
        if part not in ("encoder", "decoder", "cross") or not 0 <= int(layer) < count:
            raise BadSetting(
                f"{place!r} is no attention of this model: name a layer, or a pair such as ('cross', 0)"
            )
        return f"{part}.{int(layer)}"

    def _original_heads(self, key: str) -> int:
        encoder = key.startswith("encoder")
        return int(self.config.encoder_attention_heads if encoder else self.config.decoder_attention_heads)

    def _attention(self, key: str) -> Attention:
        part, _, layer = key.partition(".")
        stack = self.get_encoder() if part == "encoder" else self.get_decoder()  # type: ignore[attr-defined]
        attention: Attention = getattr(
            stack.layers[int(layer)], "encoder_attn" if part == "cross" else "self_attn"
        )
        return attention
