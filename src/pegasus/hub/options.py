"""How to look a name up, and which files of a repository are wanted for what."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from pegasus.errors import BadSetting, UnsupportedArgument

CONFIG_FILES: tuple[str, ...] = ("config.json",)
GENERATION_FILES: tuple[str, ...] = ("generation_config.json", "config.json")
TOKENIZER_FILES: tuple[str, ...] = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "spiece.model",
    "config.json",
)
#: One format is enough: the first that a folder holds is the one that is fetched and read.
WEIGHT_FORMATS: tuple[tuple[str, ...], ...] = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
    ("flax_model.msgpack",),
    ("flax_model.msgpack.index.json", "flax_model-*-of-*.msgpack"),
    ("tf_model.h5",),
    ("tf_model.h5.index.json", "tf_model-*-of-*.h5"),
)


@dataclass(frozen=True)
class HubOptions:
    """How to look a name up: the keywords that every ``from_pretrained`` takes.

    Attributes:
        revision: a branch, a tag or a commit; None is the main branch.
        token: for private and gated repositories; True is the stored one, False sends none.
        cache_dir: where downloads are kept; None is ``HF_HUB_CACHE``.
        local_files_only: never ask the network.
        force_download: fetch again what is cached already.
        subfolder: the folder inside the folder or repository.
    """

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""

    @classmethod
    def take(cls, kwargs: dict[str, Any]) -> HubOptions:
        """Takes its own fields out of ``kwargs``, older spellings of them too, and leaves the rest.

        Raises:
            UnsupportedArgument: for ``proxies`` and ``mirror``, which the environment does better.
        """
        kwargs.pop("resume_download", None)  # a broken download is always resumed
        for name in ("proxies", "mirror"):
            if kwargs.pop(name, None):
                raise UnsupportedArgument(
                    f"`{name}` is not taken here: set HTTPS_PROXY or HF_ENDPOINT in the environment "
                    "instead."
                )
        old_token = kwargs.pop("use_auth_token", None)
        taken = {field.name: kwargs.pop(field.name) for field in fields(cls) if field.name in kwargs}
        if old_token is not None:
            if taken.get("token") is not None:
                raise BadSetting(
                    "`use_auth_token` is the old name of `token`: both were given, give `token` alone."
                )
            taken["token"] = old_token
        taken["subfolder"] = taken.get("subfolder") or ""
        return cls(**taken)
