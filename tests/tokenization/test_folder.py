"""Files: both of the hub's forms, either vocabulary file, what others wrote wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pegasus import AutoTokenizer, PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import (
    BadSetting,
    CheckpointCorrupt,
    CheckpointNotFound,
    NotOffered,
    UnsupportedArgument,
)

TEXT = "We <mask_1> are ﬁne ☃,<n>a nation of <unk_7>laws."
SHORT = {"model_max_length": 512, "special_tokens_map_file": None, "full_tokenizer_file": None}
MAP = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


@pytest.fixture
def saved(small: str, tmp_path: Path) -> Path:
    """A folder as this package writes it."""
    PegasusTokenizer(small, model_max_length=77).save_pretrained(tmp_path)
    return tmp_path


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def test_saved_and_loaded(tokenizer, kind, tmp_path: Path) -> None:
    tokenizer.add_tokens(["<one>"])
    tokenizer.padding_side, tokenizer.truncation_side, tokenizer.newline = "left", "left", "authors"
    paths = tokenizer.save_pretrained(tmp_path)
    untold = set() if tokenizer.is_fast else {"tokenizer.json"}
    assert {Path(path).name for path in paths} | untold == {path.name for path in tmp_path.iterdir()}
    again = kind.from_pretrained(tmp_path)
    for name in (
        "padding_side",
        "truncation_side",
        "newline",
        "model_max_length",
        "clean_up_tokenization_spaces",
    ):
        assert getattr(again, name) == getattr(tokenizer, name)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again(TEXT + " <one>\n").data == tokenizer(TEXT + " <one>\n").data
    other = tmp_path / "again"
    again.save_pretrained(other)
    for path in other.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_the_bytes_of_the_model_are_kept(tokenizer, small: str, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "spiece.model").read_bytes() == Path(small).read_bytes()


def test_the_short_form_of_the_hub(kind, small: str, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(Path(small).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SHORT), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(MAP), encoding="utf-8")
    tokenizer = kind.from_pretrained(tmp_path)
    assert tokenizer.model_max_length == 512
    assert tokenizer(TEXT).input_ids == kind(small)(TEXT).input_ids
    assert tokenizer.mask_token_id == 3
    assert tokenizer.convert_ids_to_tokens(104) == "<unk_102>"


def test_the_explicit_form_of_the_hub(kind, small: str, tmp_path: Path) -> None:
    names = [f"<unk_{number}>" for number in range(2, 103)]
    explicit = {
        **SHORT,
        "pad_token": "<pad>",
        "mask_token": {"content": "<mask_2>", "__type": "AddedToken"},
        "mask_token_sent": "<mask_1>",
        "offset": 103,
        "additional_special_tokens": ["<mask_1>", *names],
        "tokenizer_class": "PegasusTokenizer",
        "name_or_path": "someone/else",
        "sp_model_kwargs": {},
    }
    (tmp_path / "spiece.model").write_bytes(Path(small).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(explicit), encoding="utf-8")
    tokenizer = kind.from_pretrained(tmp_path)
    assert len(tokenizer) == 1103
    assert tokenizer(TEXT).input_ids == kind(small)(TEXT).input_ids
    assert tokenizer.name_or_path == str(tmp_path)


@pytest.mark.parametrize("only", ["spiece.model", "tokenizer.json"])
def test_either_file_suffices(kind, saved: Path, only: str) -> None:
    whole = kind.from_pretrained(saved)
    for path in saved.iterdir():
        if path.name != only:
            path.unlink()
    alone = kind.from_pretrained(saved)
    assert alone.get_vocab() == whole.get_vocab()
    assert alone(TEXT, return_offsets_mapping=True).data == whole(TEXT, return_offsets_mapping=True).data


def test_a_truncation_length_in_tokenizer_json_is_not_inherited(kind, saved: Path) -> None:
    cutting = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    filling = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    edit(saved / "tokenizer.json", truncation=cutting, padding=filling)
    (saved / "spiece.model").unlink()
    tokenizer = kind.from_pretrained(saved)
    assert len(tokenizer(TEXT).input_ids) > 9
    assert tokenizer.model_max_length == 77
    tokenizer.save_pretrained(saved)
    written = json.loads((saved / "tokenizer.json").read_text())
    assert written["truncation"] is written["padding"] is None


def test_the_pipeline_that_is_written_cuts_ordinary_text_alike(saved: Path, pair) -> None:
    """The file is for other readers, who run it with the tokenizers library alone."""
    slow, fast = pair
    library = Tokenizer.from_file(str(saved / "tokenizer.json"))
    for text in ("We are a nation of laws.", "  Café ½ ﬁne  ", "a <mask_2> b </s>", ""):
        assert library.encode(text).ids == slow(text).input_ids == fast.backend_tokenizer.encode(text).ids
    assert library.decode(library.encode("We are.").ids) == "We are."


def test_additions_without_added_tokens_decoder(kind, saved: Path, small: str) -> None:
    """The form that transformers 4.34 and older wrote."""
    config = json.loads((saved / "tokenizer_config.json").read_text())
    del config["added_tokens_decoder"]
    config["additional_special_tokens"] += ["<sum>"]
    (saved / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (saved / "added_tokens.json").write_text(json.dumps({"new": 1103, "<sum>": 1104}), encoding="utf-8")
    tokenizer = kind.from_pretrained(saved)
    assert tokenizer.convert_tokens_to_ids(["new", "<sum>"]) == [1103, 1104]
    assert tokenizer.decode(tokenizer("We new <sum>").input_ids, skip_special_tokens=True) == "We new"
    assert len(tokenizer) == 1105


def test_additions_in_tokenizer_json_alone(kind, small: str, tmp_path: Path) -> None:
    tokenizer = PegasusTokenizerFast(small)
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "tokenizer.json":
            path.unlink()
    assert kind.from_pretrained(tmp_path)("a new").input_ids == tokenizer("a new").input_ids


def test_shifted_names_of_faulty_versions_are_left_out(kind, saved: Path, caplog) -> None:
    """transformers 4.34.0's slow class wrote <unk_1> and gave <unk_102> an id after the vocabulary."""
    config = json.loads((saved / "tokenizer_config.json").read_text())
    del config["added_tokens_decoder"]
    config["additional_special_tokens"] = ["<mask_1>", *(f"<unk_{number}>" for number in range(1, 103))]
    (saved / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (saved / "added_tokens.json").write_text(json.dumps({"<unk_102>": 1103}), encoding="utf-8")
    tokenizer = kind.from_pretrained(saved)
    assert len(tokenizer) == 1103
    assert tokenizer.convert_tokens_to_ids(["<unk_2>", "<unk_102>"]) == [4, 104]
    assert "<unk_1>" in caplog.text


def test_the_newline_symbol_in_a_list_of_added_tokens_changes_nothing(
    kind, saved: Path, small: str
) -> None:
    """transformers 4.57's fast class lists it, and cuts around it differently from the slow one."""
    config = json.loads((saved / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"]["106"] = {"content": "<n>", "special": False, "normalized": False}
    (saved / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert kind.from_pretrained(saved)(TEXT).input_ids == kind(small)(TEXT).input_ids


def test_unknown_settings_are_kept_and_written_back(kind, saved: Path, tmp_path: Path) -> None:
    edit(saved / "tokenizer_config.json", house_style="plain", do_lower_case=False)
    kind.from_pretrained(saved).save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert (written["house_style"], written["do_lower_case"]) == ("plain", False)
    assert written["tokenizer_class"] == "PegasusTokenizer"


def test_keywords_override_the_files(kind, saved: Path) -> None:
    tokenizer = kind.from_pretrained(saved, model_max_length=9, newline="authors", truncation_side="left")
    assert (tokenizer.model_max_length, tokenizer.newline, tokenizer.truncation_side) == (
        9,
        "authors",
        "left",
    )


def test_a_subfolder(kind, small: str, tmp_path: Path) -> None:
    kind(small).save_pretrained(tmp_path / "inner")
    assert len(kind.from_pretrained(tmp_path, subfolder="inner")) == 1103


def test_a_prefix(tokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path, filename_prefix="mine")
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine-spiece.model",
        "mine-tokenizer.json",
        "mine-tokenizer_config.json",
        "mine-special_tokens_map.json",
    }


def test_a_list_of_added_tokens_from_before_is_not_left_behind(
    tokenizer, kind, small: str, tmp_path: Path
) -> None:
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(tmp_path)
    kind(small).save_pretrained(tmp_path)
    assert not (tmp_path / "added_tokens.json").exists()
    assert len(kind.from_pretrained(tmp_path)) == 1103


def test_no_draft_is_left(saved: Path) -> None:
    assert not list(saved.glob("*.part"))


def test_refusals(kind, tokenizer, saved: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointNotFound, match=r"neither spiece\.model nor tokenizer\.json"):
        kind.from_pretrained(empty)
    with pytest.raises(CheckpointNotFound, match="no vocabulary file"):
        kind(str(empty / "spiece.model"))
    with pytest.raises(BadSetting, match="vocab_file"):
        kind()
    with pytest.raises(CheckpointNotFound, match="no folder"):
        tokenizer.save_vocabulary(empty / "nowhere")
    with pytest.raises(UnsupportedArgument, match="variant"):
        tokenizer.save_pretrained(empty, variant="fp16")
    with pytest.raises(BadSetting, match="is a file"):
        tokenizer.save_pretrained(saved / "spiece.model")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("spiece.model", b"", "no pieces"),
        ("spiece.model", b"junk that is no model at all", "cannot be read"),
        ("spiece.model", None, "cannot be read"),
        ("tokenizer_config.json", b"{", "not JSON"),
        ("tokenizer_config.json", b"\xff\xfe", "not JSON"),
        ("special_tokens_map.json", b"[]", "not an object"),
    ],
)
def test_files_that_cannot_be_read(kind, saved: Path, name: str, content: bytes | None, words: str) -> None:
    path = saved / name
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(CheckpointCorrupt, match=words):
        kind.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": {"type": "BPE"}}, NotOffered),
        ({"model": {"type": "Unigram"}}, CheckpointCorrupt),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, CheckpointCorrupt),
        ({"model": {"type": "Unigram", "vocab": [["a"]]}}, CheckpointCorrupt),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "§"}}, CheckpointCorrupt),
    ],
)
def test_tokenizer_json_that_cannot_be_used(kind, saved: Path, change, error) -> None:
    (saved / "spiece.model").unlink()
    edit(saved / "tokenizer.json", **change)
    with pytest.raises(error):
        kind.from_pretrained(saved)


def test_auto_tokenizer(saved: Path) -> None:
    assert isinstance(AutoTokenizer.from_pretrained(saved), PegasusTokenizerFast)
    assert isinstance(AutoTokenizer.from_pretrained(saved, use_fast=False), PegasusTokenizer)
    assert AutoTokenizer.from_pretrained(saved, model_max_length=5).model_max_length == 5
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoTokenizer()


def test_auto_tokenizer_takes_the_slow_one_where_only_that_can(saved: Path, small: str) -> None:
    sampling = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    with pytest.raises(NotOffered, match="at random"):
        PegasusTokenizerFast(small, sp_model_kwargs=sampling)
    tokenizer = AutoTokenizer.from_pretrained(saved, sp_model_kwargs=sampling)
    assert isinstance(tokenizer, PegasusTokenizer)
    assert tokenizer.name_or_path == str(saved)


def test_pushed_is_what_is_saved(tokenizer, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, bytes] = {}

    def push(folder: Path, repo_id: str, **kwargs) -> str:
        sent.update({path.name: path.read_bytes() for path in folder.iterdir()})
        return f"https://hub/{repo_id}?{kwargs}"

    monkeypatch.setattr("pegasus.tokenization.base.push", push)
    tokenizer.model_max_length = 77
    assert tokenizer.push_to_hub("me/mine", private=True) == "https://hub/me/mine?{'private': True}"
    assert sent == {path.name: path.read_bytes() for path in saved.iterdir()}


def test_auto_tokenizer_refuses_others(saved: Path, tmp_path: Path) -> None:
    edit(saved / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    with pytest.raises(NotOffered, match="BertTokenizer"):
        AutoTokenizer.from_pretrained(saved)
    words = tmp_path / "words"
    words.mkdir()
    (words / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    with pytest.raises(NotOffered, match="own package"):
        AutoTokenizer.from_pretrained(words)
