"""The reference of the command line in Markdown, made from the parsers themselves.

`python -m pegasus.cli.reference > docs/cli.md` writes it; a test compares.
"""

from __future__ import annotations

import argparse

from pegasus.cli import exits
from pegasus.cli.app import VERBS, build_parser

_HEAD = """\
# The command line

Made from the command's own help by `python -m pegasus.cli.reference > docs/cli.md`; do not edit it here.

Data goes to stdout, everything else to stderr. stdin is read when it is piped or named as `-`. Progress is
shown only on a terminal. Files are written whole or not at all, and replaced only with `--overwrite`; what
an interrupted `summarize` has finished is kept, and the same command goes on.
"""

_EXITS = (
    (exits.OK, "done"),
    (exits.FAILED, "failed; a result cannot be written"),
    (exits.USAGE, "wrong usage: an option, a value, or an output that exists"),
    (exits.PARTLY, "some inputs failed, the rest is done"),
    (exits.STOPPED, "stopped by Ctrl-C"),
    (exits.UNREAD, "whoever read stdout went away"),
)


def make_reference() -> str:
    """Return the whole page."""
    parser = build_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parts = [_HEAD, "| exit code | |", "|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in _EXITS]
    for verb in VERBS:
        parts += ["", *_verb(verb, verbs.choices[verb])]
    return "\n".join(parts) + "\n"


def _verb(verb: str, parser: argparse.ArgumentParser) -> list[str]:
    lines = [f"## pegasus {verb}", "", (parser.description or "").strip()]
    for group in parser._action_groups:
        rows = [_row(action) for action in group._group_actions]
        if rows:
            lines += ["", f"| {group.title} | |", "|---|---|", *rows]
    if parser.epilog:
        _, _, examples = parser.epilog.partition("\n")
        prompts = [f"$ {line.strip()}" for line in examples.splitlines()]
        lines += ["", "```console", *prompts, "```"]
    return lines


def _row(action: argparse.Action) -> str:
    # argparse's own rendering of an option differs between versions of Python; this one does not.
    value = action.metavar or (
        "{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        shown = f"`{action.metavar}` ..." if action.nargs == "*" else f"`{action.metavar}`"
    elif action.nargs == 0:
        shown = ", ".join(f"`{option}`" for option in action.option_strings)
    else:
        shown = ", ".join(f"`{option}`" for option in action.option_strings) + f" `{value}`"
    told = (action.help or "").replace("%%", "%").replace("|", "\\|")
    return f"| {shown.replace('|', chr(92) + '|')} | {told} |"


if __name__ == "__main__":
    print(make_reference(), end="")
