"""Every public name of the tokenizers of 4.34, and the finer answers, against what was recorded from it."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pegasus import BatchEncoding, PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import NotOffered

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "tokenizer-surface.json").read_text(encoding="utf-8"))
BIGBIRD = {"offset": 0, "mask_token": "[MASK]", "mask_token_sent": None}
ROW = re.compile(r"^\| `(\w+)` \| (same|better|different|refused|absent) \|", re.MULTILINE)


def plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [type(value).__name__, *value]
    if hasattr(value, "items"):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def made(label: str, small: str) -> PegasusTokenizer:
    name, side = label.split()
    options: dict[str, Any] = BIGBIRD if name == "bigbird" else {}
    return PegasusTokenizer(small, truncation_side=side, padding_side=side, **options)


@pytest.mark.parametrize(
    "number", range(len(GOLDEN["calls"])), ids=lambda n: f"{n}-{GOLDEN['calls'][n][0]}"
)
@pytest.mark.parametrize("label", GOLDEN["answers"])
def test_calls(label: str, number: int, small: str) -> None:
    method, arguments, keywords = copy.deepcopy(GOLDEN["calls"][number])
    found = plain(getattr(made(label, small), method)(*arguments, **keywords))
    assert found == GOLDEN["answers"][label][number]


def test_spans(small: str) -> None:
    found = PegasusTokenizerFast(small)(GOLDEN["text"])
    for (method, arguments), answer in zip(GOLDEN["spans"], GOLDEN["span answers"]):
        assert plain(getattr(found, method)(*arguments)) == answer, (method, arguments)
    words = GOLDEN["words"]
    pair = PegasusTokenizerFast(small)(words, words, is_split_into_words=True)
    spans = [pair.word_to_tokens(0, word, sequence_index=side) for side in (0, 1) for word in range(3)]
    assert [plain(span) for span in spans] == GOLDEN["word spans"]


def test_what_it_says_about_itself(small: str) -> None:
    bigbird, usual = PegasusTokenizer(small, **BIGBIRD), PegasusTokenizer(small)
    ours, theirs = repr(bigbird), GOLDEN["bigbird repr"]
    head = theirs.index(" added_tokens_decoder")  # tokens swallow blanks there, and <unk> is not listed
    assert ours[:head] == theirs[:head]
    for tokenizer, name in ((usual, "init_kwargs"), (bigbird, "bigbird init_kwargs")):
        for key, value in GOLDEN[name].items():
            assert tokenizer.init_kwargs[key] == value, key


def table() -> dict[str, dict[str, str]]:
    page = (ROOT / "docs" / "coming-from-transformers.md").read_text(encoding="utf-8")
    parts = {}
    for heading in (
        "Tokenizers (`PreTrainedTokenizer`, `PreTrainedTokenizerFast`)",
        "Encodings (`BatchEncoding`)",
    ):
        part = page.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
        rows = ROW.findall(part)
        assert len(rows) == len(dict(rows)), "a name stands twice"
        parts[heading.split()[0]] = dict(rows)
    return parts


def test_the_table_has_every_name() -> None:
    names = GOLDEN["names"]
    parts = table()
    assert parts["Tokenizers"].keys() == {*names["PegasusTokenizer"], *names["PegasusTokenizerFast"]}
    assert parts["Encodings"].keys() == set(names["BatchEncoding"])


def test_the_table_is_true(small: str) -> None:
    slow, fast = PegasusTokenizer(small), PegasusTokenizerFast(small)
    for name, word in table()["Tokenizers"].items():
        for tokenizer in (slow, fast):
            if name not in GOLDEN["names"][type(tokenizer).__name__]:
                continue
            assert hasattr(tokenizer, name) == (word != "absent"), name
            if word == "refused":
                with pytest.raises(NotOffered):
                    getattr(tokenizer, name)()
    found = BatchEncoding({"input_ids": [[1]]})
    for name, word in table()["Encodings"].items():
        assert hasattr(found, name) == (word != "absent"), name


@pytest.mark.parametrize("kind", [PegasusTokenizer, PegasusTokenizerFast])
class TestSignatures:
    def test_arguments_by_place(self, kind) -> None:
        tokenizer = kind.from_pretrained("pegasus-mini")
        text, other = "The river rose.", "It fell."
        assert tokenizer.encode(text, other, False, "max_length", True, 12) == (
            tokenizer(text, other, add_special_tokens=False, padding="max_length", truncation=True,
                      max_length=12)["input_ids"]
        )  # fmt: skip
        found = tokenizer.encode_plus(text, None, True, "max_length", "longest_first", 8, 0, False, 4, "np")
        assert found["input_ids"].shape == (1, 8)
        found = tokenizer.batch_encode_plus([text, other], True, True, None, None, 0, False, None, "np")
        assert found["input_ids"].shape[0] == 2
        found = tokenizer(
            text, None, None, None, True, False, None, None, 0, False, None, None, True, False
        )
        assert sorted(found) == ["input_ids", "token_type_ids"]

    def test_every_argument_of_a_call_is_named(self, kind) -> None:
        names = list(inspect.signature(kind.__call__).parameters)
        wanted = (
            "text text_pair text_target text_pair_target add_special_tokens padding truncation max_length"
        )
        wanted += " stride is_split_into_words pad_to_multiple_of return_tensors return_token_type_ids"
        wanted += " return_attention_mask return_overflowing_tokens return_special_tokens_mask"
        wanted += " return_offsets_mapping return_length verbose kwargs"
        assert names == ["self", *wanted.split()]

    def test_additional_tokens_are_a_list(self, kind) -> None:
        with pytest.raises(TypeError, match="is a list of tokens"):
            kind.from_pretrained("pegasus-mini", additional_special_tokens="x")
