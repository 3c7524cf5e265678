from __future__ import annotations

import sys

import numpy as np
import pytest

from pegasus.errors import BackendMissing, BadData
from pegasus.evaluation import rouge
from pegasus.evaluation.rouge import KINDS, Interval, intervals, resampled_means, score_rows

pytest.importorskip("rouge_score")


def scores(prediction: str, *references: str, stem: bool = True) -> dict[str, float]:
    return dict(next(score_rows([prediction], [references], stem=stem)))


def test_f1_by_hand() -> None:
    found = scores("the cat sat", "the cat sat down")
    assert found["rouge1"] == pytest.approx(6 / 7)
    assert found["rouge2"] == pytest.approx(4 / 5)
    assert found["rougeL"] == found["rougeLsum"] == pytest.approx(6 / 7)


def test_words_are_cut_to_their_stems() -> None:
    assert scores("he walked", "he walks")["rouge1"] == 1
    assert scores("he walked", "he walks", stem=False)["rouge1"] == 0.5


def test_lsum_takes_lines_for_sentences_and_l_does_not() -> None:
    lined, joined = "b c d e\na x y z", "b c d e a x y z"
    reference = "a x y z\nb c d e"
    assert scores(lined, reference)["rougeLsum"] == 1
    assert scores(lined, reference)["rougeL"] == 0.5
    assert scores(joined, reference.replace("\n", " "))["rougeLsum"] == 0.5


def test_of_several_references_the_best_counts_for_each_kind() -> None:
    one, other = "x y z a", "a b"
    found = scores("a b c", one, other)
    alone = scores("a b c", one), scores("a b c", other)
    assert found == {kind: max(each[kind] for each in alone) for kind in KINDS}
    assert found["rouge2"] > 0


def test_an_empty_text_scores_nothing() -> None:
    assert set(scores("", "a b").values()) == {0.0}


def test_intervals_hold_the_mean_and_do_not_move() -> None:
    rng = np.random.default_rng(1)
    values = rng.beta(2, 5, 300)
    rows = [dict.fromkeys(KINDS, float(value)) for value in values]
    found = intervals(rows)["rouge1"]
    assert found == intervals(rows)["rouge1"]
    assert found != intervals(rows, seed=1)["rouge1"]
    assert found.mid == pytest.approx(100 * values.mean(), abs=0.1)
    # the 95 % interval of a mean is 1.96 standard errors to each side
    spread = 1.96 * 100 * values.std() / 300**0.5
    assert found.high - found.mid == pytest.approx(spread, rel=0.15)
    assert found.mid - found.low == pytest.approx(spread, rel=0.15)


def test_one_row_is_its_own_interval() -> None:
    assert intervals([dict.fromkeys(KINDS, 0.25)])["rougeL"] == Interval(25, 25, 25)
    with pytest.raises(BadData, match="no row"):
        intervals([])


def test_resampling_in_parts_is_resampling_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).random((50, 2))
    whole = resampled_means(table)
    monkeypatch.setattr(rouge, "_AT_ONCE", 50 * 7)
    assert resampled_means(table).shape == whole.shape == (1000, 2)
    np.testing.assert_allclose(resampled_means(table), whole)


def test_without_rouge_score_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    rouge._scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(BackendMissing, match=r"pegasus-summarizer\[eval\]"):
        scores("a", "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Cat, 12.5 sat", ["the", "cat", "12", "5", "sat"]),
        ("市长说 2026 年", ["市", "长", "说", "2026", "年"]),
        ("ΟΔΟΣ Łódź, ŒUVRE", ["οδος", "łódź", "œuvre"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowels that are signs on a consonant belong to the word
        ("e\u0301te\u0301 \ufb01n", ["été", "fin"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("", []),
        ("\u0301 —", []),
    ],
)
def test_words_by_unicode(text: str, words: list[str]) -> None:
    assert rouge.UnicodeWords().tokenize(text) == words


def test_other_alphabets_score_by_unicode_alone() -> None:
    text, reference = "市长说没有新房", "市长说不会有新房"
    assert scores(text, reference)["rouge1"] == 0
    found = next(score_rows([text], [[reference]], words="unicode"))
    assert found["rouge1"] == pytest.approx(2 * 6 / (7 + 8))
    assert next(score_rows(["Ein Haus"], [["ein Haus"]], words="unicode"))["rougeL"] == 1


def test_what_is_not_seen_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for references, words, share in (
        ([["市长说没有新房 abc"]], "ascii", "70 %"),
        ([["市长说没有新房"]], "unicode", None),
        ([["a café in Łódź on Monday evening"]], "ascii", None),
        ([["..."]], "ascii", None),
    ):
        caplog.clear()
        rouge.warn_of_unseen(references, words)
        assert (share in caplog.text) if share else not caplog.text
