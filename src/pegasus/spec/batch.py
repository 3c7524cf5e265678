"""A batch: the arrays that learning reads, which labels count, and which part of a loss needs which."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Arrays by name, int32: ``input_ids`` [B, S], ``attention_mask`` [B, S], ``labels`` [B, T] (-100: not
#: counted; the decoder's input is made from them by shifting) and ``mlm_labels`` [B, S] (-100: not hidden).
#: ``labels`` or ``mlm_labels`` may be absent; a model without an encoder needs ``labels`` alone.
Batch = Mapping[str, np.ndarray]

#: The parts a loss may have, and the array that each needs.
PARTS = {"target": "labels", "mlm": "mlm_labels"}

#: The label of a token that is not counted.
IGNORED = -100
