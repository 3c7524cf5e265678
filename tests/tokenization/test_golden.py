"""Both tokenizers answer as those of transformers 4.57.6; where these disagree, the choice stands here."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def golden(kind: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"tokenizer-{kind}.json").read_text(encoding="utf-8"))


TEXTS, CALLS, TOKENS = golden("texts"), golden("calls"), golden("tokens")

#: answer of a text → whose answer is ours where the two differ (docs/tokenizers.md says why)
TEXT_CHOICES = {"ids": "slow", "tokens": "slow", "id tokens": "slow"}

#: name of a call → whose answer is ours; "own": each of the two classes gives that of its namesake
CALL_CHOICES = {
    "type ids": "fast",
    "type ids pair": "fast",
    "special mask in text": "slow",
    "length": "slow",
    "length batch padded": "slow",
    "offsets": "fast",
    "offsets pair": "fast",
    "truncation 1": "fast",
    "pair longest_first 6": "fast",
    "pair longest_first 14": "fast",
    "pair of equals 6": "fast",
    "pair only_first 6": "fast",
    "pair only_first 13": "fast",
    "pair only_first 14": "fast",
    "pair only_first 20": "fast",
    "pair only_second 6": "fast",
    "overflow stride 0": "own",
    "overflow stride 2": "own",
    "overflow stride 6": "own",
    "overflow batch": "own",
    "overflow pair only_second": "own",
    "overflow pair only_first": "own",
}


def expected(name: str, slow: Any, fast: Any, choices: dict[str, str], is_fast: bool) -> Any:
    if slow == fast:
        assert name not in choices, f"{name}: the two agree, there is nothing to choose"
        return slow
    return {"slow": slow, "fast": fast, "own": fast if is_fast else slow}[choices[name]]


def plain(value: Any) -> Any:
    value = getattr(value, "data", value) if not hasattr(value, "tolist") else value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def text_rows() -> list[Any]:
    slow, fast = TEXTS["answers"]["slow"], TEXTS["answers"]["fast"]
    return [pytest.param(*row, id=repr(row[0])[:40]) for row in zip(TEXTS["texts"], slow, fast)]


@pytest.mark.parametrize(("text", "slow", "fast"), text_rows())
def test_texts(tokenizer, text: str, slow: dict, fast: dict) -> None:
    ids = tokenizer(text)["input_ids"]
    found = {
        "ids": ids,
        "tokens": tokenizer.tokenize(text),
        "id tokens": tokenizer.convert_ids_to_tokens(ids),
        "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
        "skipped": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        "tidied": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True),
    }
    same_ids = slow["ids"] == fast["ids"]
    for name in ("ids", "tokens", "id tokens"):
        assert (
            found[name]
            == (
                slow
                if same_ids
                else {**fast, "ids": slow["ids"], "tokens": slow["tokens"], "id tokens": slow["id tokens"]}
            )[name]
        )
    # Decoding is the fast one's, without blanks at the ends; of the ids that are the slow one's, its own.
    for name in ("decoded", "skipped", "tidied"):
        assert found[name] == (fast if same_ids else slow)[name].strip(" ")


def call_rows() -> list[Any]:
    slow, fast = CALLS["answers"]["slow"], CALLS["answers"]["fast"]
    return [pytest.param(*row, id=row[0]["name"]) for row in zip(CALLS["calls"], slow, fast)]


@pytest.mark.parametrize(("call", "slow", "fast"), call_rows())
def test_calls(tokenizer, call: dict, slow: Any, fast: Any) -> None:
    wanted = expected(call["name"], slow, fast, CALL_CHOICES, tokenizer.is_fast)
    method = getattr(tokenizer, call["method"])
    arguments, keywords = copy.deepcopy((call["arguments"], call["keywords"]))
    if isinstance(wanted, dict) and "refused" in wanted:
        with pytest.raises(ValueError, match="Use "):
            method(*arguments, **keywords)
        return
    assert plain(method(*arguments, **keywords)) == wanted


def test_every_choice_is_about_a_call_that_is_asked() -> None:
    assert set(CALL_CHOICES) <= {call["name"] for call in CALLS["calls"]}


@pytest.mark.parametrize("side", ["slow", "fast"])
def test_vocabulary(tokenizer, side: str) -> None:
    wanted = TOKENS["answers"][side]
    assert tokenizer.get_vocab() == wanted["vocab"]
    assert (len(tokenizer), tokenizer.vocab_size) == (wanted["length"], wanted["vocab_size"])
    assert tokenizer.all_special_tokens == wanted["all_special_tokens"]
    assert tokenizer.all_special_ids == wanted["all_special_ids"]
    assert tokenizer.additional_special_tokens == wanted["additional_special_tokens"]
    assert tokenizer.special_tokens_map == wanted["special_tokens_map"]
    named = {name: [getattr(tokenizer, name), getattr(tokenizer, f"{name}_id")] for name in wanted["named"]}
    assert named == wanted["named"]


@pytest.mark.parametrize("side", ["slow", "fast"])
def test_conversions(tokenizer, side: str) -> None:
    wanted = TOKENS["answers"][side]
    tokens = ["<pad>", "▁the", "☃", "<n>", "<unk_50>", "nonsense"]
    assert tokenizer.convert_tokens_to_ids(tokens) == wanted["tokens_to_ids"]
    ids = [0, 1, 2, 3, 4, 104, 105, 106, 107, 1102]
    assert tokenizer.convert_ids_to_tokens(ids) == wanted["ids_to_tokens"]
    assert [
        tokenizer.num_special_tokens_to_add(),
        tokenizer.num_special_tokens_to_add(pair=True),
    ] == wanted["num_special_tokens_to_add"]
    built = [
        tokenizer.build_inputs_with_special_tokens([7, 8]),
        tokenizer.build_inputs_with_special_tokens([7, 8], [9]),
    ]
    assert built == wanted["build_inputs"]
    masks = [
        tokenizer.get_special_tokens_mask([200, 2, 105, 3, 50], already_has_special_tokens=False),
        tokenizer.get_special_tokens_mask([200, 2], [201, 0]),
        tokenizer.get_special_tokens_mask([200, 0, 1, 105], already_has_special_tokens=True),
    ]
    assert masks == wanted["special_mask"]


def test_tokens_to_string_is_the_fast_one_s(tokenizer) -> None:
    found = [
        tokenizer.convert_tokens_to_string(["▁We", "▁are", "▁the", "▁people", "."]),
        tokenizer.convert_tokens_to_string(["▁a", "▁", "▁b"]),
        tokenizer.convert_tokens_to_string([]),
    ]
    assert found == TOKENS["answers"]["fast"]["tokens_to_string"]


def test_additional_special_tokens_come_after_the_vocabulary(kind, small: str) -> None:
    tokenizer = kind(small, additional_special_tokens=["<sep>", "<ttl>"])
    assert tokenizer.get_added_vocab() == TOKENS["answers"]["slow"]["fills"]


@pytest.mark.parametrize("reload", [False, True])
def test_added_tokens_are_the_slow_one_s(tokenizer, reload: bool, tmp_path: Path) -> None:
    tokenizer.add_tokens(["newtoken", "other"])
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<sum>"]}, replace_additional_special_tokens=False
    )
    if reload:
        tokenizer.save_pretrained(tmp_path)
        tokenizer = type(tokenizer).from_pretrained(tmp_path)
    ids = tokenizer("a newtoken and<sum>the other people newtokens <sum>")["input_ids"]
    found = {
        "length": len(tokenizer),
        "vocab_size": tokenizer.vocab_size,
        "ids": ids,
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
        "skipped": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
    }
    assert found == TOKENS["answers"]["slow"]["added and reloaded" if reload else "added"]
