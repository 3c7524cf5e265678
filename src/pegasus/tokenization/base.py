"""What both tokenizers do alike: call, cut, pad, decode. The two differ only in who cuts ordinary text."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.tokenization import lengths, padding
from pegasus.tokenization.encoding import BatchEncoding, Details, EncodedText, Encoding, Part
from pegasus.tokenization.folder import TokenizerFolder
from pegasus.tokenization.lengths import Limits
from pegasus.tokenization.newline import (
    Newline,
    check_newline,
    newline_origins,
    read_newlines,
    write_newlines,
)
from pegasus.tokenization.origins import piece_spans, shift
from pegasus.tokenization.specials import AddedTokens, SpecialTokens
from pegasus.tokenization.vocabulary import NEWLINE_PIECE, OFFSET, SPACE, Layout, Vocabulary

logger = logging.getLogger(__name__)

_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")
_TIDY = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to have in the result, beside the ids."""

    specials: bool = True
    type_ids: bool = False
    attention: bool = True
    overflow: bool = False
    special_mask: bool = False
    offsets: bool = False
    length: bool = False
    tensors: str | None = None
    verbose: bool = True
