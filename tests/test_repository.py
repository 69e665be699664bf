"""What CONTRIBUTING.md tells of the repository is what the repository has.  Needs no PyTorch."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())


def section(title: str) -> str:
    """Return the text below a heading of CONTRIBUTING.md, up to the next one."""
    return CONTRIBUTING.split(f"\n## {title}\n")[1].split("\n## ")[0]


def sessions() -> list[str]:
    """Return the names of the sessions in the order of noxfile.py."""
    found = []
    for function in NOXFILE.body:
        if isinstance(function, ast.FunctionDef):
            for decorator in function.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if ast.unparse(call.func if call else decorator) == "nox.session":
                    names = [k.value for k in call.keywords if k.arg == "name"] if call else []
                    found.append(ast.literal_eval(names[0]) if names else function.name)
    return found


def test_sessions() -> None:
    """The table of commands names every session of noxfile.py, in the same order."""
    named = re.findall(r'^\| `nox -s "?([a-z-]+)', CONTRIBUTING, re.MULTILINE)
    assert len(sessions()) > 10
    assert list(dict.fromkeys(named)) == sessions()


@pytest.mark.parametrize("package", ["lowering_hooks", "compat"])
def test_modules(package: str) -> None:
    """The table of modules has a row for every module of the package, and no other, in one sentence each."""
    found = re.findall(
        rf"^\| `({package}/[a-z_/]+\.py)` \| (.+) \|$", section("Where things are"), re.MULTILINE
    )
    rows = dict(found)
    assert len(found) == len(rows), "a module has two rows"
    files = {file.relative_to(ROOT).as_posix() for file in (ROOT / package).rglob("*.py")}
    # A package whose __init__ has nothing but a docstring is told by its modules.
    empty = {name for name in files if len(ast.parse((ROOT / name).read_text()).body) < 2}
    assert rows.keys() | empty == files
    assert [name for name, what in rows.items() if not re.fullmatch(r"[^.]+(\.\S[^.]*)*\.", what)] == []


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "noxfile.py"]
# Folders of the repository, as a path in a text begins.
FOLDERS = ("benchmarks", "compat", "docs", "downstream", "lowering_hooks", "tests", "tools")
# A session writes these, and a checkout need not have them.
WRITTEN = ("benchmarks/results/",)


def paths_in(text: str) -> list[str]:
    return re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text)


def test_paths_are_found() -> None:
    """In words, in links and in blocks; not what lies in another folder of such a name."""
    text = "Edit `tests/a.py`, [b](docs/b.md).\n    tools/c/d.py --e\n/usr/lib/lowering_hooks/f.py x-tests/g.py tests/"
    assert paths_in(text) == ["tests/a.py", "docs/b.md", "tools/c/d.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths(page: Path) -> None:
    """What a page names of the repository is there, and it names test files by their whole path."""
    text = page.read_text()
    missing = [path for path in paths_in(text) if not (ROOT / path).exists()]
    assert [path for path in missing if not path.startswith(WRITTEN)] == []
    assert re.findall(r"(?<![\w/])test_\w+\.py", text) == []


def groups_of_noxfile() -> set[str]:
    """Return the groups of requirements that the sessions install."""
    sources = [NOXFILE, ast.parse((ROOT / "tools" / "environments.py").read_text())]
    calls = [node for source in sources for node in ast.walk(source) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "group"}


def test_dependency_groups() -> None:
    """Every group of requirements is installed by a session, part of one that is, or told in CONTRIBUTING.md."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later have it")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    used = groups_of_noxfile()
    included = {part["include-group"] for name in used for part in groups[name] if isinstance(part, dict)}
    told = set(re.findall(r"--group ([a-z]+)", CONTRIBUTING))
    assert used | included | told == set(groups)


def hooks() -> dict[str, list[str]]:
    """Return what pre-commit runs, with the requirements of each, from lines of its configuration."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    found = re.findall(
        r"^ +entry: (.+)\n +language: python\n +additional_dependencies: \[(.+)\]$", text, re.MULTILINE
    )
    assert len(found) == text.count("- id:")
    return {entry: [name.strip('" ') for name in needed.split(",")] for entry, needed in found}


def test_pre_commit() -> None:
    """Every hook runs a command of session lint, with what that session's group, and so the session, installs."""
    (lint,) = (node for node in NOXFILE.body if isinstance(node, ast.FunctionDef) and node.name == "lint")
    calls = [node for node in ast.walk(lint) if isinstance(node, ast.Call)]
    runs = [call.args for call in calls if ast.unparse(call.func) == "session.run"]
    commands = [" ".join(str(arg.value) for arg in args if isinstance(arg, ast.Constant)) for args in runs]
    assert len(hooks()) > 3
    assert set(hooks()) <= set(commands)
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later have it")
    installed = {
        "packaging",
        *(
            p
            for p in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["lint"]
            if isinstance(p, str)
        ),
    }
    assert {name for needed in hooks().values() for name in needed} <= installed


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_workflows(workflow: Path) -> None:
    """A workflow runs sessions that exist, and names a full version of each action."""
    text = workflow.read_text()
    selected = re.findall(r"(?:select:|nox) --session (.+)", text)
    names = [name for some in selected for name in some.split(" -- ")[0].split() if name != '"$SESSION"']
    assert set(names) <= set(sessions())
    actions = re.findall(r"uses: (.+)", text)
    assert actions
    assert [action for action in actions if not re.fullmatch(r"\./.+|[\w/-]+@v\d+\.\d+\.\d+", action)] == []


def test_workflows_run_the_sessions() -> None:
    """Together the workflows run what continuous integration must: the checks, the tests, a release."""
    text = "\n".join(workflow.read_text() for workflow in WORKFLOWS)
    for selected in (
        "--session lint imports wheel docs release",
        "--tags eras",
        "--session tests contract",
        "--session new-release",
    ):
        assert f"select: {selected}\n" in text
    assert 'nox --session release -- "$GITHUB_REF_NAME"' in text
