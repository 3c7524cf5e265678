"""The keywords of ``from_pretrained`` that its signature does not name: where to look, what to change."""

from __future__ import annotations

import os
from typing import Any, TypedDict


class LookupOptions(TypedDict, total=False):
    """How a name is looked up, and what is done with it afterwards."""

    cache_dir: str | os.PathLike[str] | None
    force_download: bool
    local_files_only: bool
    token: str | bool | None
    use_auth_token: str | bool | None
    revision: str | None
    subfolder: str
    resume_download: bool
    proxies: None
    variant: str | None
    from_tf: bool
    from_flax: bool
    trust_remote_code: bool | None
    low_cpu_mem_usage: bool | None
    device_map: Any
    max_memory: dict[Any, Any] | None
    offload_folder: str | os.PathLike[str] | None
    offload_state_dict: bool | None
    offload_buffers: bool


class LoadOptions(LookupOptions, total=False):
    """The same, and the fields of the configuration, which win over the file's."""

    vocab_size: int
    max_position_embeddings: int
    encoder_layers: int
    encoder_ffn_dim: int
    encoder_attention_heads: int
    decoder_layers: int
    decoder_ffn_dim: int
    decoder_attention_heads: int
    encoder_layerdrop: float
    decoder_layerdrop: float
    use_cache: bool
    activation_function: str
    d_model: int
    dropout: float
    attention_dropout: float
    activation_dropout: float
    init_std: float
    decoder_start_token_id: int
    scale_embedding: bool
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    forced_eos_token_id: int | list[int] | None
    gradient_checkpointing: bool
    tie_word_embeddings: bool
    output_attentions: bool
    output_hidden_states: bool
    return_dict: bool
    torchscript: bool
    position_table: str
    layer_norm_eps: float
    decoder_start: str
    max_length: int
    num_beams: int
    length_penalty: float
