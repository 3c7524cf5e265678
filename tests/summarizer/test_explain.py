from __future__ import annotations

import numpy as np
import pytest

from pegasus.summarizer.explain import explain, lean, token_ends
from pegasus.summarizer.lengths import Budget


def test_attention_is_summed_by_sentence_and_the_end_token_left_out() -> None:
    attention_TS = np.array([[0.1, 0.1, 0.2, 0.6], [0.4, 0.0, 0.1, 0.5], [0.0, 0.0, 0.0, 1.0]])
    shares = lean(attention_TS, ends_t=[2, 3], ends_s=[2, 3])
    np.testing.assert_allclose(shares, [[0.6 / 0.9, 0.3 / 0.9], [0, 0]])


def test_ends_stretch_to_the_text() -> None:
    assert token_ends([2, 3, 5], 10) == [2, 5, 10]
    assert token_ends([2, 3, 5], 20) == [4, 10, 20]
    assert token_ends([], 0) == []


def test_the_strongest_sentences_are_named_with_their_places() -> None:
    source = ["One. ", "Two two. ", "Three."]
    (told,) = explain(np.array([[0.3, 0.68, 0.02]]), ["Sum. "], source)
    assert told.sentence == "Sum."
    assert [(s.share, s.start, s.end, s.text) for s in told.support] == [
        (0.68, 5, 14, "Two two."),
        (0.3, 0, 5, "One."),
    ]


def test_a_copied_sentence_leans_on_its_original(summarizer, writer) -> None:
    writer.usual = Budget(0, 30)
    writer.says = lambda job: (*job.tokens[6:9], *job.tokens[0:3])
    text = "Alpha beta gamma. Delta epsilon zeta. Eta theta iota."
    summary = summarizer(text, explain=True)
    assert summary.text == "Eta theta iota. Alpha beta gamma."
    assert [told.support[0].text for told in summary.explanation] == [
        "Eta theta iota.",
        "Alpha beta gamma.",
    ]
    assert [told.support[0].share for told in summary.explanation] == [1.0, 1.0]
    for told in summary.explanation:
        assert text[told.support[0].start : told.support[0].end].strip() == told.support[0].text
    assert "explanation" in summary.to_dict()


@pytest.mark.parametrize("count", [10, 40, 200])
@pytest.mark.parametrize("pick", [slice(5), slice(-6, -1)], ids=["first", "last"])
def test_sentences_of_a_merge_are_led_back_to_the_text(summarizer, writer, count, pick) -> None:
    writer.says = lambda job: job.tokens[pick]  # always one sentence of a piece
    text = " ".join(f"A{n} b{n} c{n} d{n} e{n}." for n in range(count))
    summary = summarizer(text, explain=True)
    assert len(summary.explanation) == len(summary.text.splitlines())
    for told in summary.explanation:
        (support,) = told.support
        assert support.text == told.sentence == text[support.start : support.end].strip()
        assert support.share == pytest.approx(1.0, abs=1e-3)


def test_a_truncated_text_is_explained_by_what_was_read(summarizer, writer) -> None:
    writer.says = lambda job: job.tokens[-6:-1]
    text = " ".join(f"A{n} b{n} c{n} d{n} e{n}." for n in range(20))
    summary = summarizer(text, explain=True, long="truncate")
    starts = [support.start for told in summary.explanation for support in told.support]
    assert starts
    assert max(starts) < len(text) // 2


@pytest.mark.parametrize("long", ["chunk", "truncate"])
def test_what_rests_on_the_end_token_leans_on_nothing(summarizer, writer, monkeypatch, long) -> None:
    def resting(source, summary):
        attention_TS = np.zeros((len(summary), len(source)))
        attention_TS[:, -1] = 1
        return attention_TS

    monkeypatch.setattr(writer, "attend", resting)
    text = " ".join(f"A{n} b{n} c{n} d{n} e{n}." for n in range(20))
    summary = summarizer(text, explain=True, long=long)
    assert summary.explanation
    assert all(told.support == () for told in summary.explanation)
