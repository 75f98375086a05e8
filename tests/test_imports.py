"""Imports between the package's folders point one way, and none hides in a function."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "brs_detr"
FILES = sorted(PACKAGE.rglob("*.py"))


def folder_of(module: str) -> str:
    """`losses` of ``brs_detr.losses.exact``."""
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    """Modules of this package that a file names in absolute imports; relative ones stay inside their folder."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2, f"{path}: {ast.unparse(node)}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module == "brs_detr" else set() if node.level else {str(node.module)}
    return {module for module in modules if module.startswith("brs_detr.")}


def test_no_circle_between_folders() -> None:
    needs: dict[str, set[str]] = {}
    for path in FILES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        needs.setdefault(own, set()).update({folder_of(module) for module in imported(path)} - {own})
    TopologicalSorter(needs).prepare()  # raises where there is a circle
    assert not any("registry" in found for found in needs.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stand_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [node for function in functions for node in ast.walk(function)]
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) and "brs_detr" in ast.unparse(node) for node in inside)
