"""Imports run one way: cli, manager, hooks, describe, inductor; compat imports nothing of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A module may import those of its own line and of the lines below it.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("",),  # lowering_hooks itself, the public functions
    ("report_file",),
    ("manager",),
    ("standing",),
    ("asked",),
    ("status",),
    ("hooks",),
    ("records",),
    ("describe",),
    ("inductor",),
    ("settings",),
    ("namespaces",),
    ("replacement",),
    ("telling",),
    ("compat",),
)
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
# Annotations of these may name what is imported above them: nothing runs for it.
FOR_ANNOTATIONS = {("status", "hooks")}
# Imported only once Inductor is loaded, where the importing function says so.
LATE = {("manager", "hooks"), ("", "report_file")}

FILES = sorted(
    path
    for folder in ("lowering_hooks", "compat")
    for path in (ROOT / folder).rglob("*.py")
    if "worker" not in path.parts  # run by path, in processes without the package
)


def module_of(path: Path) -> tuple[str, ...]:
    """Return the name of a module inside the package, as its parts."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "compat" else parts[1:]
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(path: Path) -> set[tuple[tuple[str, ...], bool, bool]]:
    """Return what a file imports: the module, whether inside a function, whether for annotations only."""
    found = set()
    package = path.relative_to(ROOT).parent.parts
    package = package if package[0] == "compat" else package[1:]

    def visit(node: ast.AST, *, is_late: bool, is_annotation: bool) -> None:
        for child in ast.iter_child_nodes(node):
            late = is_late or isinstance(child, ast.FunctionDef)
            annotation = is_annotation or (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            )
            if isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else ()
                module = (*base, *(child.module or "").split(".")) if child.module else base
                if not child.level:
                    module = tuple((child.module or "").split("."))
                names = [(*module, alias.name) for alias in child.names] if not child.module else [module]
                found.update((name, late, annotation) for name in names)
            elif isinstance(child, ast.Import):
                found.update((tuple(alias.name.split(".")), late, annotation) for alias in child.names)
            visit(child, is_late=late, is_annotation=annotation)

    visit(ast.parse(path.read_text(encoding="utf-8")), is_late=False, is_annotation=False)
    return found


def layer(module: tuple[str, ...]) -> str:
    return module[0] if module else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    """No module imports one of a layer above its own."""
    own = layer(module_of(path))
    for module, is_late, is_annotation in imports_of(path):
        name = module[1:] if module[0] == "lowering_hooks" else module
        other = layer(name)
        if other not in LEVEL:
            continue
        if is_annotation and (own, other) in FOR_ANNOTATIONS:
            continue
        assert LEVEL[other] >= LEVEL[own], f"{own or 'lowering_hooks'} imports {'.'.join(module)}"
        if (own, other) in LATE:
            assert is_late or is_annotation or own == "", f"{own} imports {'.'.join(module)} at once"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_torch_is_never_imported(path: Path) -> None:
    """The package reads the PyTorch that is loaded; only the workers of the demo import it."""
    assert not [module for module, *_ in imports_of(path) if module[0] == "torch"]


def test_compat_is_a_leaf() -> None:
    """Compat imports nothing but packaging, beside what Python has."""
    import sys

    for path in (ROOT / "compat").glob("*.py"):
        for module, *_ in imports_of(path):
            assert module[0] in {"compat", "packaging", *sys.stdlib_module_names}, (path.name, module)


def test_every_module_has_a_layer() -> None:
    """A new module takes its place among the others."""
    assert {layer(module_of(path)) for path in FILES} == set(LEVEL)
