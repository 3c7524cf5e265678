"""The options of the command, frozen: one that goes or changes its default breaks somebody's script."""

from __future__ import annotations

import argparse

import pytest

from pegasus.cli import app

EVERY_VERB = {"--quiet": False, "--verbose": False, "--debug": False}
#: verb → option → default. New verbs and options may come; these stay.
FROZEN: dict[str, dict[str, object]] = {
    "summarize": {
        "files": None,
        "--column": None,
        "--output": "-",
        "--format": None,
        "--overwrite": False,
        "--length": None,
        "--sentences": None,
        "--long": "chunk",
        "--num-beams": None,
        "--length-penalty": None,
        "--no-repeat-ngram-size": None,
        "--retry-repetition": False,
        "--explain": False,
        "--model": "pegasus-mini",
        "--device": "auto",
        "--dtype": "auto",
        "--batch-size": 16,
        "--threads": None,
    },
    "prepare": {
        "corpus": None,
        "--tokenizer": None,
        "--output": None,
        "--column": None,
        "--unit": "file",
        "--max-words": 0,
        "--keep-duplicates": False,
        "--strict": False,
        "--strategy": "ind-orig",
        "--sentences": "authors",
        "--words": "ascii",
        "--shard-mb": 16,
        "--processes": None,
    },
    "pretrain": {"job": None, "--set": []},
    "finetune": {"job": None, "--set": []},
    "distill": {"job": None, "--set": []},
    "evaluate": {
        "--data": None,
        "--document": None,
        "--summary": None,
        "--limit": None,
        "--json": False,
        "--output": None,
        "--task": None,
        "--model": "pegasus-mini",
        "--no-model": False,
        "--num-beams": None,
        "--long": "truncate",
        "--device": "auto",
        "--batch-size": 16,
    },
    "inspect": {
        "thing": None,
        "--tokenizer": "pegasus-mini",
        "--row": 0,
        "--seed": 0,
        "--strategy": None,
        "--ratio": 0.3,
        "--mlm": 0.15,
    },
}


def verbs() -> dict[str, argparse.ArgumentParser]:
    parser = app.build_parser()
    choices = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    return dict(choices)


def options(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Every option by its long name, and every positional by its own."""
    found: dict[str, object] = {}
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        name = next((o for o in action.option_strings if o.startswith("--")), None)
        found[name or (action.option_strings or [action.dest])[0]] = action.default
    return found


VERBS = sorted(verbs())


def test_no_verb_has_gone():
    assert set(FROZEN) <= set(VERBS)


@pytest.mark.parametrize("verb", FROZEN)
def test_no_option_has_gone_or_changed_its_default(verb):
    found = options(verbs()[verb])
    frozen = FROZEN[verb] | EVERY_VERB
    assert {name: found.get(name, "gone") for name in frozen} == frozen


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb):
    for action in verbs()[verb]._actions:
        assert action.help, action.option_strings or action.dest
    assert verbs()[verb].description


@pytest.mark.parametrize("verb", VERBS)
def test_short_options_are_not_taken_twice_and_none_is_guessed(verb):
    parser = verbs()[verb]
    assert not parser.allow_abbrev
    taken = [option for action in parser._actions for option in action.option_strings]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_printed(verb, capsys):
    with pytest.raises(SystemExit) as end:
        app.build_parser().parse_args([verb, "--help"])
    assert not end.value.code
    assert f"pegasus {verb}" in capsys.readouterr().out
