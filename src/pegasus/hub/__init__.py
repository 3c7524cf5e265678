"""A name becomes a folder: a path on this machine, a bundled checkpoint, or a Hugging Face repository.

Everything above this room sees folders only. What comes from the hub is compared with the hash that the
hub states for it, because a download of the right size with wrong bytes is otherwise accepted.
"""

from __future__ import annotations

from pegasus.hub.bundled import bundled
from pegasus.hub.names import locate
from pegasus.hub.options import CONFIG_FILES, GENERATION_FILES, TOKENIZER_FILES, WEIGHT_FORMATS, HubOptions
from pegasus.hub.sharing import push

__all__ = [
    "CONFIG_FILES",
    "GENERATION_FILES",
    "TOKENIZER_FILES",
    "WEIGHT_FORMATS",
    "HubOptions",
    "bundled",
    "locate",
    "push",
]
