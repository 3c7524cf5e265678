"""Options of every verb, and keys of job files, with values that nobody would choose."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fuzz import checkpoints
from fuzz.checkpoints import SHAPE, TEXT
from fuzz.running import Case
from fuzz.values import NUMBERS, TEXTS, absurd

#: Places that cannot be written, or read, or are of another kind.
PATHS = (
    "",
    "/proc/x",
    "/dev/null",
    "/dev/full",
    "missing/x",
    "text.txt",
    "pairs.jsonl",
    ".",
    "z" * 300,
    "a\nb",
)


def prepare(place: Path) -> Path:
    """A tiny checkpoint, and everything that a verb imports."""
    _import_all()
    return checkpoints.prepare(place)


def case(chance: random.Random, source: Path, place: Path) -> Case:
    """One call of the command in a fresh folder.

    Args:
        chance: draws all of it.
        source: what ``prepare`` made.
        place: a folder to work in.
    """
    verb = chance.choice(_VERBS)
    shutil.rmtree(place / "cwd", ignore_errors=True)
    folder = place / "cwd" / "of" / "case"
    _furnish(folder, source)
    arguments = (
        _job(chance, verb) if verb in ("finetune", "pretrain", "distill") else _command(chance, verb)
    )
    return Case(" ".join(map(repr, arguments))[:600], partial(_run, folder, arguments))


_VERBS = (
    "summarize",
    "summarize",
    "evaluate",
    "prepare",
    "inspect",
    "pack",
    "finetune",
    "finetune",
    "pretrain",
    "distill",
)
_NEEDED = {
    "summarize": ["text.txt", "--model", "plain"],
    "evaluate": ["--data", "pairs.jsonl", "--model", "plain"],
    "prepare": ["pairs.jsonl", "--tokenizer", "plain", "-o", "shards-new", "--processes", "1"],
    "inspect": ["plain"],
    "pack": ["plain", "-o", "packed-new"],
}
#: These say less or more of the same, or look for a network.
_LEFT_OUT = ("--help", "--debug", "--version", "--revision", "--token")


def _import_all() -> None:
    """Everything a verb imports, once."""
    import pegasus.cli.showing
    import pegasus.evaluation.evaluate
    import pegasus.training.distill
    import pegasus.training.pretrain  # noqa: F401


def _furnish(folder: Path, source: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "plain").symlink_to(source / "plain")
    (folder / "packed").symlink_to(source / "packed")
    (folder / "text.txt").write_text(TEXT + "\n\n" + TEXT)
    rows = [{"document": f"{TEXT} {TEXT} It is number {n}.", "summary": f"{TEXT} {n}"} for n in range(6)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _command(chance: random.Random, verb: str) -> list[str]:
    from pegasus.cli.app import build_parser

    parsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = [a for a in parsers.choices[verb]._actions if not set(a.option_strings) & set(_LEFT_OUT)]
    arguments = [verb, *_NEEDED[verb]]
    for action in chance.sample(actions, min(len(actions), chance.choice((1, 1, 2, 3, 6)))):
        if action.option_strings:
            arguments.append(chance.choice(action.option_strings))
        if action.nargs != 0:
            arguments.append(_value(chance, action))
    return arguments


def _value(chance: random.Random, action: argparse.Action) -> str:
    way = chance.randrange(4)
    if way == 0 and action.choices:
        return str(chance.choice(list(action.choices)))
    if way == 1:
        return chance.choice(PATHS)
    return str(chance.choice((*NUMBERS, *TEXTS))).replace("\x00", "")


def _job(chance: random.Random, verb: str) -> list[str]:
    """A tiny run with some of its keys changed."""
    from pegasus.training.jobs import DistillJob, FinetuneJob, PretrainJob

    kind: Any = {"finetune": FinetuneJob, "pretrain": PretrainJob, "distill": DistillJob}[verb]
    job: dict[str, Any] = {
        "output": "out",
        "model": {"start": "plain"} if chance.random() < 0.7 else {"tokenizer": "plain", "config": SHAPE},
        "data": {"train": ["pairs.jsonl"], "max_source": 32, "max_target": 12},
        "run": {"steps": 2, "batch": 2, "save_every": 1},
        "optim": {"schedule": "constant", "warmup_steps": 0, "rate": 0.01},
        "placement": {"device": "cpu"},
    }
    if verb == "distill":
        job |= {"teacher": {"model": "plain"}, "model": {}}
        job["pseudo"] = {"part": 2} if chance.random() < 0.5 else None
        job = {key: value for key, value in job.items() if value is not None}
    if verb == "pretrain":
        job["data"] = {"shards": chance.choice(("shards", "plain", "text.txt"))}
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = _key(chance, kind)
        table = job
        for key in path[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):  # changed already
                break
        else:
            table[path[-1]] = chance.choice(PATHS) if chance.random() < 0.15 else absurd(chance)
    sets = [f"{'.'.join(path)}={_toml(value)}" for path, value in _leaves(job)]
    return [verb, "text-of-job.toml", *(word for each in sets for word in ("--set", each))]


def _key(chance: random.Random, kind: Any) -> list[str]:
    """The path of a key, down to a value."""
    from pegasus.training.jobs import _known

    path: list[str] = []
    while known := _known(kind, path):
        path.append(chance.choice(known))
        if chance.random() < 0.1:
            break
    return path


def _leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(values, dict) or not values:
        yield path, values
        return
    for key, value in values.items():
        yield from _leaves(value, (*path, str(key)))


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return repr(value).replace("infinity", "inf")
    return json.dumps(value) if not isinstance(value, dict) else "{}"


def _run(folder: Path, arguments: list[str]) -> int:
    from pegasus.cli.app import main

    os.chdir(folder)
    Path("text-of-job.toml").write_text("")
    return main([word.replace("\x00", "") for word in arguments])
