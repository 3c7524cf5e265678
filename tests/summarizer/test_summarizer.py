from __future__ import annotations

import json

import numpy as np
import pytest

from pegasus.errors import BadData, BadSetting, PegasusError, TextTooLong
from pegasus.summarizer import Summarizer, Summary
from pegasus.summarizer.lengths import Budget


def sentences(count: int, words: int = 5) -> str:
    return " ".join(" ".join(f"W{n}x{m}" for m in range(words - 1)) + f" end{n}." for n in range(count))


def answer(summarizer: Summarizer, text: str):
    return lambda job: [summarizer.reader.tokenizer.number(word) for word in text.split()]


def test_a_text_gives_a_summary_and_a_list_a_list_in_order(summarizer: Summarizer) -> None:
    one = summarizer("Alpha beta gamma delta epsilon.")
    assert isinstance(one, Summary)
    assert one.text == "Alpha beta gamma"
    texts = [f"t{n} " + "word " * (n * 7 % 13) + "stop." for n in range(40)]
    many = summarizer(texts)
    assert [summary.text.split()[0] for summary in many] == [f"t{n}" for n in range(40)]
    assert summarizer([]) == []


def test_a_summary_that_fits_tells_its_counts(summarizer: Summarizer) -> None:
    summary = summarizer("Alpha beta gamma delta epsilon.")
    assert (summary.input_tokens, summary.used_tokens, summary.summary_tokens) == (6, 6, 4)
    assert (summary.truncated, summary.long, summary.finish_reason) == (False, "whole", "eos")
    assert (summary.chunks, summary.merged, summary.model) == ((), 0, "lead")
    plain = summary.to_dict()
    assert json.loads(json.dumps(plain))["text"] == summary.text
    assert "explanation" not in plain


def test_batches_hold_texts_of_like_length_and_no_more_tokens_than_asked(summarizer, writer) -> None:
    texts = ["word " * n for n in (30, 3, 28, 2, 29, 1, 4)]
    summarizer(texts, batch_size=3, batch_tokens=100)
    shapes = [[len(job.tokens) for job in batch] for batch in writer.batches]
    assert shapes == [[31, 30, 29], [5, 4, 3], [2]]


def test_a_batch_is_never_wider_than_its_tokens(summarizer, writer) -> None:
    summarizer(["word " * 30] * 5, batch_size=8, batch_tokens=70)
    assert [len(batch) for batch in writer.batches] == [2, 2, 1]


def test_settings_reach_generate_and_nothing_else_does(summarizer, writer) -> None:
    summarizer("A text.", num_beams=3, length_penalty=0.6, generate={"early_stopping": True})
    assert writer.asked == [{"num_beams": 3, "length_penalty": 0.6, "early_stopping": True}]
    summarizer("A text.")
    assert writer.asked[-1] == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beam": 2}, "num_beams"),
        ({"temperature": 2}, "generate="),
        ({"long": "cut"}, "chunk, truncate"),
        ({"num_beams": 0}, "at least 1"),
        ({"sentences": True}, "whole number"),
        ({"length": "tiny"}, "short, medium, long"),
        ({"length": "0"}, "short, medium, long"),
        ({"length": "101%"}, "short, medium, long"),
        ({"splitter": "punkt"}, "careful"),
    ],
)
def test_settings_that_make_no_sense_are_refused(summarizer, settings, said) -> None:
    with pytest.raises(BadSetting, match=said):
        summarizer("A text.", **settings)


def test_bad_texts_do_not_take_good_ones_along(summarizer) -> None:
    good, empty, wrong, long = summarizer.attempt(["A b c.", " \n", 5, "word " * 40], long="error")  # type: ignore[list-item]
    assert isinstance(good, Summary)
    assert isinstance(empty, BadData)
    assert isinstance(wrong, BadData)
    assert isinstance(long, TextTooLong)
    assert "41 tokens" in str(long)
    assert "takes 32" in str(long)
    with pytest.raises(BadData, match=r"Text 1: .*empty"):
        summarizer(["A b c.", ""])


def test_streams_are_read_a_window_at_a_time(summarizer) -> None:
    taken = []

    def source():
        for n in range(10):
            taken.append(n)
            yield f"t{n} and more."

    stream = summarizer.stream(source(), window=3)
    first = next(stream)
    assert isinstance(first, Summary)
    assert taken == [0, 1, 2]
    assert [end.text.split()[0] for end in stream if not isinstance(end, PegasusError)] == [
        f"t{n}" for n in range(1, 10)
    ]


def test_truncation_says_how_much_was_read(summarizer, writer) -> None:
    summary = summarizer("word " * 100, long="truncate")
    assert (summary.input_tokens, summary.used_tokens, summary.truncated) == (101, 32, True)
    assert summary.long == "truncate"
    assert len(writer.batches[0][0].tokens) == 32
    assert writer.batches[0][0].tokens[-1] == 1


def test_extension_reads_everything_at_once_up_to_a_limit(summarizer, writer) -> None:
    summary = summarizer("word " * 100, long="extend")
    assert (summary.used_tokens, summary.truncated, summary.long) == (101, False, "extend")
    assert summary.warnings[0] == "extend: a checkpoint made for 32 tokens read 101 at once"
    assert len(writer.batches[0][0].tokens) == 101
    with pytest.raises(TextTooLong, match="at most 100"):
        summarizer("word " * 100, long="extend", extend_limit=100)


def test_chunks_cover_the_text_at_sentence_borders_and_fit(summarizer, writer) -> None:
    text = sentences(40)
    summary = summarizer(text)
    assert summary.long == "chunk"
    assert (summary.input_tokens, summary.used_tokens, summary.truncated) == (201, 201, False)
    pieces = [text[chunk.start : chunk.end] for chunk in summary.chunks]
    assert "".join(pieces) == text
    assert all(piece.rstrip().endswith(".") for piece in pieces)
    sizes = [chunk.input_tokens for chunk in summary.chunks]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 5
    assert len(writer.batches[0]) == len(pieces) == 7
    assert all(len(job.tokens) <= 32 for batch in writer.batches for job in batch)


def test_joined_summaries_are_summarized_again_until_they_are_short_enough(summarizer, writer) -> None:
    summary = summarizer(sentences(200))
    assert summary.merged >= 2
    assert summary.summary_tokens <= writer.usual.most
    rounds = [len(batch) for batch in writer.batches]
    assert rounds[-1] == 1
    assert sum(rounds) > len(summary.chunks)


def test_pieces_are_only_joined_where_that_is_short_enough(summarizer, writer) -> None:
    writer.says = lambda job: job.tokens[:1]
    summary = summarizer(sentences(10))
    assert len(summary.chunks) == 2
    assert summary.merged == 0
    assert summary.text == "W0x0\nW5x0"
    assert summary.summary_tokens == 3


def test_a_length_that_pieces_can_share_is_shared(summarizer, writer) -> None:
    summary = summarizer(sentences(40), length=60)
    assert len(summary.chunks) == 7
    assert summary.merged == 0
    assert writer.batches[0][0].budget == Budget(4, 8)
    assert len(summary.text.split()) <= 60


def test_a_merge_that_does_not_shrink_ends_and_says_so(summarizer, writer) -> None:
    writer.usual = Budget(0, 100)
    writer.says = lambda job: job.tokens
    summary = summarizer(sentences(40))
    assert summary.merged == 0
    assert summary.warnings == ("merge: the joined summaries could not be made shorter",)


def test_a_sentence_longer_than_the_model_is_cut_and_nothing_is_lost(summarizer, writer) -> None:
    text = "Short one. " + "word " * 300 + "end. Last one."
    summary = summarizer(text)
    assert "".join(text[chunk.start : chunk.end] for chunk in summary.chunks) == text
    assert all(len(job.tokens) <= 32 for batch in writer.batches for job in batch)


def test_the_pieces_of_many_texts_share_batches(summarizer, writer) -> None:
    summarizer([sentences(10), sentences(10), "A b c."], batch_size=8, batch_tokens=1000)
    assert len(writer.batches[0]) == 5


def test_smaller_readings_can_be_asked_for(summarizer, writer) -> None:
    summarizer(sentences(10), max_input_tokens=16)
    assert max(len(job.tokens) for job in writer.batches[0]) <= 16


@pytest.mark.parametrize(
    ("length", "budget"),
    [
        ("short", Budget(0, 8)),
        ("medium", Budget(4, 8)),
        ("long", Budget(8, 16)),
        (12, Budget(7, 13)),
        ("10", Budget(6, 11)),
        ("50%", Budget(6, 11)),
    ],
)
def test_lengths_become_limits(summarizer, writer, length, budget) -> None:
    summarizer("word " * 20, length=length)
    assert writer.batches[0][0].budget == budget


def test_a_length_ends_at_a_whole_sentence(summarizer, writer) -> None:
    writer.says = lambda job: job.tokens
    text = "One two three four. Five six seven eight nine ten eleven."
    summary = summarizer(text, length=8)
    assert summary.text == "One two three four."
    assert summary.finish_reason == "length"
    assert summary.summary_tokens == 5


def test_sentences_are_counted_and_the_model_is_asked_again_for_more(summarizer, writer) -> None:
    writer.says = lambda job: job.tokens[: 5 if job.budget is None else max(job.budget.least, 5)]
    text = sentences(6)
    assert summarizer(text, sentences=1).text == sentences(1)
    assert len(writer.batches) == 1
    summary = summarizer(text, sentences=3)
    assert summary.text == sentences(3)
    assert summary.warnings == ()
    assert writer.batches[-1][0].budget == Budget(18, 31)
    writer.says = lambda job: job.tokens[:5]
    assert summarizer(text, sentences=2).warnings == ("sentences: 2 asked for, the model wrote 1",)


def test_a_repetitive_draft_is_written_again_where_that_is_asked_for(summarizer, writer) -> None:
    writer.usual = Budget(0, 30)
    writer.says = lambda job: job.tokens[:1] * 9 if job.no_repeat_ngram_size is None else job.tokens[:3]
    assert summarizer("Alpha beta gamma delta.").text == " ".join(["Alpha"] * 9)
    summary = summarizer("Alpha beta gamma delta.", retry_repetition=True)
    assert summary.text == "Alpha beta gamma"
    assert [batch[0].no_repeat_ngram_size for batch in writer.batches[-2:]] == [None, 3]
    assert summary.warnings == (
        "retried: a repetitive draft was written again with no_repeat_ngram_size=3",
    )


def test_a_model_that_writes_nothing_is_reported(summarizer, writer) -> None:
    writer.says = lambda job: []
    assert summarizer("A text.", check=True).warnings == ("empty: the model wrote nothing",)
    long = summarizer(sentences(40), check=True)
    assert (long.text, long.warnings) == ("", ("empty: the model wrote nothing",))


def test_checks_compare_with_the_whole_text(summarizer, writer) -> None:
    writer.usual = Budget(0, 30)
    writer.says = answer(summarizer, "they saw Obama and 42 dogs")
    assert summarizer("A text about 41 dogs on a hill.", check=True).warnings == (
        "numbers: not in the text: 42",
        "names: not in the text: Obama",
    )
    cut = summarizer("word " * 100 + "Obama 42", check=True, long="truncate")
    assert cut.warnings == ()


def test_line_breaks_come_back(summarizer, writer) -> None:
    writer.says = answer(summarizer, "one <n> two <n>three")
    assert summarizer("A text.").text == "one\ntwo\nthree"


def test_progress_is_told(summarizer) -> None:
    told = []
    summarizer(["a b c."] * 5, batch_size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_texts_with_equal_limits_share_a_batch_wherever_they_stand(summarizer, writer) -> None:
    summarizer(["word " * 20, "word " * 30, "word " * 20, "word " * 30], length="50%")
    assert [len(batch) for batch in writer.batches] == [2, 2]


def test_pieces_fit_though_sentences_have_more_tokens_together_than_alone(summarizer, writer) -> None:
    tokenizer = summarizer.reader.tokenizer
    alone = type(tokenizer).encode_ids

    class Bordered(type(tokenizer)):  # type: ignore[misc]
        def encode_ids(self, texts, **options):
            ids = alone(self, texts, **options)
            more = [np.full(text.strip().count(". "), 9, np.int32) for text in texts]
            return [np.concatenate(pair) for pair in zip(more, ids)]

    tokenizer.__class__ = Bordered
    text = sentences(40)
    summary = summarizer(text)
    assert "".join(text[chunk.start : chunk.end] for chunk in summary.chunks) == text
    assert max(chunk.input_tokens for chunk in summary.chunks) <= 32
