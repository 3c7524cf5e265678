"""Who imports whom, read off the files: no circles, and no module opened by a string of its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "pegasus").rglob("*.py"))
}
#: Who may open modules of the project by a string, and why.
BY_STRING = {
    "pegasus": "the public names, each imported when it is first used",
    "pegasus.backends": "the table of backends",
    "pegasus.cli.app": "the verbs, each imported when it is called",
    "pegasus.spec.tensors": "from the word for a kind of tensor to its framework, which lies above",
}


def skipped(node: ast.AST) -> bool:
    """What is only there for the type checker runs never."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not skipped(child):
            yield child
            yield from walk(child)


def imported(module: str, path: Path) -> set[str]:
    """The modules of the project that one imports, inside functions too."""
    found = set()
    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES and name != module}


GRAPH = {module: imported(module, path) for module, path in MODULES.items()}


def reachable(start: str) -> dict[str, str]:
    """Every module that is imported from here on → by whom."""
    came: dict[str, str] = {}
    open_ends = [start]
    while open_ends:
        at = open_ends.pop()
        for one in GRAPH[at] - came.keys():
            came[one] = at
            open_ends.append(one)
    return came


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_itself_in_a_circle(module):
    """Nor does a file of a package import the package that gathers it."""
    came = reachable(module)
    if module not in came:
        return
    circle, at = [module], came[module]
    while at != module:
        circle.append(at)
        at = came[at]
    pytest.fail(" -> ".join([module, *reversed(circle)]))


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_opened_by_a_string(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    opens = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__"))
    ]
    # A package of somebody else's may be imported by its name, which is then written out there.
    others = [
        node
        for node in opens
        if isinstance(node.args[0], ast.Constant) and not str(node.args[0].value).startswith("pegasus")
    ]
    if module in BY_STRING:
        assert opens, f"{module} has become free of it: take it out of the list"
    elif module == "pegasus.data.reading.streams":
        assert len(opens) == 1, "it imports the package of a file format, by its name in a table"
    else:
        assert opens == others
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    named = {text for text in strings if isinstance(text, str) and text in MODULES and "." in text}
    assert module in BY_STRING or not named, f"names modules in strings: {named}"
