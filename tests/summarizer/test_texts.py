"""What may be given as texts; copies of a summarizer, in this process and in others."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import shutil
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from pegasus import PackedForConditionalGeneration, Summarizer
from pegasus.errors import BadData, BadSetting, NotOffered, PegasusError
from pegasus.summarizer import Summary

TEXT = "Rivers carry sand and stones to the sea."


class Table:
    """Like a data frame: iterated, it gives the names of its columns."""

    columns = ("text", "id")
    shape = (2, 2)

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"text": TEXT}, r'found a dict: give the text in it, such as row\["text"\]'),
        (None, "found None: give a string"),
        (Path("a.txt"), r"found a PosixPath: give the text of the file, such as path.read_text"),
        (b"bytes", r'found bytes \(bytes\): decode them first, such as data.decode\("utf-8"\)'),
        (bytearray(b"bytes"), "found a bytearray: decode them first"),
        (5, "found a int: give a string"),
        (1.5, "found a float: give a string"),
        (True, "found a bool"),
        (io.StringIO(TEXT), r"found a StringIO: give its text, such as file.read\(\)"),
        (Table(), r'found a Table: give one of its columns, such as table\["text"\]'),
        (object(), "found a object"),
        (np.array(TEXT), "found a ndarray: give a string"),
    ],
)
def test_what_is_no_text_is_refused_by_name(summarizer, writer, texts, said) -> None:
    with pytest.raises(BadData, match=said):
        summarizer(texts)
    with pytest.raises(BadData, match=said):
        summarizer.attempt(texts)
    with pytest.raises(BadData, match=said):
        next(summarizer.stream(texts))
    ends = summarizer.attempt([TEXT, texts])
    assert isinstance(ends[0], Summary)
    with pytest.raises(BadData, match=said):
        raise ends[1]
    with pytest.raises(BadData, match=f"^Text 1: A text must be a string; {said}"):
        summarizer([TEXT, texts])


def test_lists_in_lists_are_refused_and_several_strings_of_any_kind_are_taken(summarizer) -> None:
    with pytest.raises(
        BadData, match="Text 0: A text must be a string; found a list: give one list of strings"
    ):
        summarizer([[TEXT]])
    for several in (
        (TEXT, TEXT),
        deque([TEXT, TEXT]),
        np.array([TEXT, TEXT]),
        iter([TEXT, TEXT]),
        {TEXT: 1}.keys(),
    ):
        assert {summary.text for summary in summarizer(several)} == {"Rivers carry sand and"}
    assert summarizer([]) == []
    assert summarizer(np.str_(TEXT)).text == "Rivers carry sand and"


def test_one_text_is_not_taken_for_its_letters(summarizer) -> None:
    for several in (summarizer.attempt, lambda text: next(summarizer.stream(text))):
        with pytest.raises(BadData, match="takes several texts, and one was given: put it into a list"):
            several(TEXT)


@pytest.mark.parametrize("window", [0, -1, 2.5, True, 10**30])
def test_windows_are_whole_numbers(summarizer, window) -> None:
    with pytest.raises(BadSetting, match="window must be"):
        next(summarizer.stream([TEXT], window=window))


@pytest.mark.parametrize("before", [0, 1, 4, 5, 9])
def test_a_stream_hands_out_what_is_done_before_its_source_breaks_off(summarizer, before) -> None:
    def source():
        for number in range(before):
            yield f"Text{number} of a source."
        raise OSError("the line is dead")

    ends = []
    with pytest.raises(OSError, match="the line is dead"):
        ends.extend(end.text for end in summarizer.stream(source(), window=4))
    assert ends == [f"Text{number} of" for number in range(before)]


def test_a_stream_hands_out_each_text_when_it_is_done(summarizer, writer) -> None:
    stream = summarizer.stream([f"Text{number} of a stream." for number in range(6)], batch_size=2)
    computed = []
    for _ in stream:
        computed.append(len(writer.batches))
    assert computed == [1, 1, 2, 2, 3, 3]


# -- copies ------------------------------------------------------------------------------------------------


def summarize_elsewhere(summarizer: Summarizer) -> tuple[str, float]:
    summary = summarizer(TEXT, length=6)
    return summary.text, summary.score


@pytest.fixture(scope="module")
def mini() -> Summarizer:
    return Summarizer.from_pretrained("pegasus-mini", threads=1, num_beams=2)


def test_copies_summarize_as_the_original_does(mini) -> None:
    wanted = summarize_elsewhere(mini)
    packed = pickle.dumps(mini)
    for other in (
        pickle.loads(packed),
        copy.deepcopy(mini),
        copy.copy(mini),
        pickle.loads(pickle.dumps(pickle.loads(packed))),
    ):
        assert summarize_elsewhere(other) == wanted
        assert other.settings.num_beams == 2
        assert other.writer.model.threads == 1


def test_other_processes_open_the_model_again(mini) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(summarize_elsewhere, (mini,)) == summarize_elsewhere(mini)


def test_a_copy_opens_its_folder_when_it_is_first_used(mini, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(mini.writer.model.source, folder)
    packed = pickle.dumps(PackedForConditionalGeneration.from_pretrained(folder, threads=1))
    shutil.move(folder, tmp_path / "elsewhere")
    lost = pickle.loads(packed)
    assert lost.generation_config.max_length == 128
    with pytest.raises(PegasusError):
        lost.weights  # noqa: B018
    shutil.move(tmp_path / "elsewhere", folder)
    assert lost.weights.config.d_model == mini.writer.model.config.d_model
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lost.nothing  # noqa: B018


def test_settings_of_generation_travel_with_a_copy(mini) -> None:
    model = PackedForConditionalGeneration.from_pretrained("pegasus-mini", threads=1)
    model.generation_config.num_beams = 3
    other = pickle.loads(pickle.dumps(model))
    ids = mini.reader.tokenizer([TEXT], return_tensors="pt").input_ids
    assert (other.generate(ids, max_new_tokens=5) == model.generate(ids, max_new_tokens=5)).all()
    assert other.generation_config.num_beams == 3


def test_a_model_of_no_folder_says_how_it_can_be_copied(mini) -> None:
    model = PackedForConditionalGeneration.from_pretrained("pegasus-mini", threads=1)
    model.source = None
    with pytest.raises(NotOffered, match="save it with save_packed, and open that folder"):
        pickle.dumps(model)


def test_a_column_of_arrow_is_many_texts(summarizer) -> None:
    arrow = pytest.importorskip("pyarrow")
    for column in (arrow.array([TEXT, TEXT]), arrow.chunked_array([[TEXT], [TEXT]])):
        assert [end.text for end in summarizer(column)] == [end.text for end in summarizer([TEXT, TEXT])]
    assert isinstance(summarizer.attempt(arrow.array([TEXT, None]))[1], BadData)


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "return_dict_in_generate", "inputs"])
def test_what_a_summarizer_gives_generate_itself_is_refused(summarizer, name) -> None:
    with pytest.raises(BadSetting, match=f"generate's {name} is given by the summarizer itself"):
        summarizer(TEXT, generate={name: True})
