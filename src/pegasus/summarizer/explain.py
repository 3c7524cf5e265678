"""Which source sentences a summary sentence leans on, by where the decoder's attention went.

While it writes each token the decoder looks back at the source; the mass of that look, averaged over
layers and heads and summed over the tokens of two sentences, says how much the one leans on the other.
It shows where the model looked, which is not a proof of why it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.summarizer.records import Explanation, Support

_MOST_SHOWN = 3
_LEAST_SHARE = 0.05


def lean(attention_TS: np.ndarray, ends_t: Sequence[int], ends_s: Sequence[int]) -> np.ndarray:
    """Sum attention by sentence.

    Args:
        attention_TS: the mass between each summary token and each source token.
        ends_t: for each summary sentence, the index after its last token.
        ends_s: for each source sentence, the index after its last token; later tokens (the end token,
            on which a decoder rests when it needs nothing) are left out.

    Returns:
        [summary sentences, source sentences]; each row sums to 1, or is 0 where there was no mass.
    """
    rows = _sums(attention_TS, ends_t)
    both = _sums(rows.T, ends_s).T
    total = both.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(both, total, out=np.zeros_like(both), where=total > 0)
    return shares


def token_ends(sizes: Sequence[int], tokens: int) -> list[int]:
    """Return for each sentence the index after its last token, from the sentences' own token counts.

    Counted one by one, sentences may come out a token longer or shorter than within the text: the ends
    are then stretched to the text's own number of tokens.
    """
    ends = np.cumsum(sizes)
    if len(ends) and ends[-1] != tokens:
        ends = np.round(ends * (tokens / max(int(ends[-1]), 1)))
    return [int(end) for end in ends]


def explain(
    shares: np.ndarray, summary_sentences: Sequence[str], source_sentences: Sequence[str]
) -> tuple[Explanation, ...]:
    """Name the strongest source sentences of each summary sentence.

    Args:
        shares: from `lean`, [summary sentences, source sentences].
        summary_sentences: the sentences of the summary.
        source_sentences: the sentences of the text, whose concatenation is the text.
    """
    starts = np.concatenate([[0], np.cumsum([len(sentence) for sentence in source_sentences])])
    return tuple(
        Explanation(sentence.strip(), tuple(_supports(row, source_sentences, starts)))
        for sentence, row in zip(summary_sentences, shares)
    )


def _supports(row: np.ndarray, sentences: Sequence[str], starts: np.ndarray) -> list[Support]:
    strongest = [int(index) for index in np.argsort(-row, kind="stable")[:_MOST_SHOWN]]
    return [
        Support(
            round(float(row[i]), 4),
            int(starts[i]),
            int(starts[i]) + len(sentences[i]),
            sentences[i].strip(),
        )
        for rank, i in enumerate(strongest)
        if row[i] >= _LEAST_SHARE or (rank == 0 and row[i] > 0)
    ]


def _sums(values: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    running = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    clipped = np.clip(np.asarray(ends, dtype=np.int64), 0, len(values))
    return np.diff(running[np.concatenate([[0], clipped])], axis=0)
