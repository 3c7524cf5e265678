"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pegasus"
MODULES = sorted(SOURCE.rglob("*.py"))

#: Files that may be longer than 400 lines, and why.
LONG: dict[str, str] = {}
#: Names that say nothing about what is in a file.
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "shared"}
FRAMEWORKS = {"torch", "jax", "flax", "optax", "tensorflow", "keras"}


def tracked() -> list[Path]:
    """Every file that belongs to the project: what git tracks or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_floors_are_kept():
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.is_file():
        pytest.skip("import-linter is not installed")
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_framework_is_imported_only_in_its_room(path):
    """Also inside functions and under TYPE_CHECKING, where the import linter does not look."""
    room = re.match(r"backends/(\w+)/", relative(path))
    allowed = {
        "jax": {"jax", "flax", "optax"},
        "tensorflow": {"tensorflow", "keras"},
        "torch": {"torch"},
        "bridges": {"torch"},
    }
    mine = allowed.get(room.group(1), set()) if room else set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        roots = {name.partition(".")[0] for name in names}
        assert not roots & (FRAMEWORKS - mine), f"line {node.lineno}"
        assert "transformers" not in roots, f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_say_what_they_are_and_can_be_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "the first line of a file names its concept"
    assert path.stem not in VAGUE
    lines = text.count("\n")
    assert lines <= 400 or relative(path) in LONG, f"{lines} lines"


def test_the_list_of_long_files_is_not_stale():
    for name in LONG:
        assert (SOURCE / name).read_text(encoding="utf-8").count("\n") > 400, (
            f"{name} has become short: take it out"
        )


def test_functions_are_short():
    """Half of them have at most 12 lines, counted without their docstrings."""
    sizes = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None
                body = node.body[1:] if documented else node.body
                sizes.append(body[-1].end_lineno - body[0].lineno + 1 if body else 0)
    assert sorted(sizes)[len(sizes) // 2] <= 12


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_hides_a_missing_import_or_prints(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Try):
            imports = [one for one in node.body if isinstance(one, ast.Import | ast.ImportFrom)]
            # Saying what to install is right; going on without it is what hides things.
            says_so = all(isinstance(handler.body[-1], ast.Raise) for handler in node.handlers)
            assert not imports or (says_so and node.col_offset > 0), f"line {node.lineno}: try: import"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and not relative(path).startswith("cli/")
        ):
            assert node.func.id != "print", f"line {node.lineno}"


def test_the_project_names_no_place_outside_itself():
    """No path of the machine it was written on."""
    places = re.compile(rb"(?<![\w.~])/(?:work|opt|home|root|Users)/")
    found = []
    for path in tracked():
        if (
            path.suffix in (".safetensors", ".bin", ".model", ".npz", ".png", ".gz")
            or path == Path(__file__).resolve()
        ):
            continue
        found += [
            f"{path.relative_to(ROOT)}: {m.group().decode()}" for m in places.finditer(path.read_bytes())
        ]
    assert not found


def test_every_error_comes_from_the_tree():
    """A bare ``raise Exception`` or an assert about input would bypass errors.py."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                and isinstance(node.exc.func, ast.Name)
            ):
                assert node.exc.func.id not in ("Exception", "BaseException"), (
                    f"{relative(path)}:{node.lineno}"
                )
