"""What the pages show: commands parse, Python compiles and names what exists, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for place in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("docs", "recipes")))
    for page in place
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of this language: (page and number, text)."""
    found = []
    for page in PAGES:
        for number, (kind, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            if kind == language:
                found.append((f"{name(page)}#{number}", text))
    return found


def commands() -> list[tuple[str, str]]:
    """Every command line of the console blocks, continued lines joined."""
    found = []
    for place, text in blocks("console"):
        joined = text.replace("\\\n", " ")
        found += [(place, line[2:].strip()) for line in joined.splitlines() if line.startswith("$ ")]
    return found


def identify(pairs: list[tuple[str, str]]) -> list:
    return [pytest.param(text, id=f"{place}-{i}") for i, (place, text) in enumerate(pairs)]


def test_there_are_pages_and_commands():
    assert len(PAGES) > 5
    assert commands()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
    broken = [target for target, _ in LINK.findall(text) if not (page.parent / target).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_are_closed_and_console_blocks_hold_commands(page):
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    for kind, block in FENCE.findall(text):
        if kind == "console":
            assert any(line.startswith("$ ") for line in block.splitlines()), block


@pytest.mark.parametrize("command", identify(commands()))
def test_commands_are_valid_shell(command):
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash")
    run = subprocess.run([shell, "-n", "-c", command], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("text", identify(blocks("python")))
def test_python_compiles_and_its_imports_from_here_exist(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pegasus":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def words(command: str) -> list[list[str]]:
    """The ``pegasus`` calls of a command line, as argument lists, without pipes and redirections."""
    import shlex

    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    current: list[str] | None = None
    skip = False
    for token in lexer:
        if token and set(token) <= set("|&;"):
            current = None
        elif token and set(token) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        elif current is not None:
            current.append(token)
        elif Path(token).name == "pegasus":
            current = []
            calls.append(current)
    return calls


@pytest.mark.parametrize("command", identify([pair for pair in commands() if words(pair[1])]))
def test_calls_of_pegasus_are_understood(command):
    """Their options exist and their values are allowed; nothing is run."""
    from pegasus.cli import app

    for arguments in words(command):
        if arguments and arguments != ["--help"]:
            app.build_parser().parse_args(arguments)


def test_words_finds_the_calls():
    line = "X=1 bin/pip install . && bin/pegasus summarize 'a b.txt' > out.txt | pegasus inspect x # note"
    assert words(line) == [["summarize", "a b.txt"], ["inspect", "x"]]


def test_the_forward_arguments_of_the_page_exist():
    import inspect

    from pegasus import PegasusForConditionalGeneration

    page = (ROOT / "docs" / "coming-from-transformers.md").read_text(encoding="utf-8")
    section = page.partition("## What a forward pass takes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    written = {argument for row in rows for argument in re.findall(r"`(\w+)`", row)}
    real = set(inspect.signature(PegasusForConditionalGeneration.forward).parameters) - {"self"}
    assert written == real


def test_the_legend_has_every_axis_letter():
    page = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")
    letters = set(re.findall(r"^\| ([A-Z]) \|", page, re.MULTILINE))
    assert letters == set("BSTMRCDHEFVL") | set("GKNPW")
    used: set[str] = set()
    for path in (ROOT / "src" / "pegasus").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg | ast.Name):
                identifier = node.arg if isinstance(node, ast.arg) else node.id
                suffix = re.fullmatch(r"[a-z][a-z_0-9]*_([A-Z]{1,4})", identifier)
                used |= set(suffix.group(1)) if suffix else set()
    assert used <= letters, f"letters without a legend: {sorted(used - letters)}"
