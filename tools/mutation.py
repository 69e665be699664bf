"""Says whether the tests notice when the code is another: mutation testing of the modules that decide.

``python tools/mutation.py [MODULE ...]`` makes the mutants of the modules (``mutants.py``), runs for each the tests
that ``MODULES`` names until one fails (``mutation_runner.py``), and compares the mutants that no test noticed with
``docs/mutation/survivors.json``, which says of each why it may stay.  It fails where they are others.  With
``--every K`` it runs each K-th mutant only, with ``--only TEXT`` those whose function has that text in its name, and
with ``--again`` only those that no test has noticed in an earlier run, those that ran out of time, and those of functions
that were edited since.  ``--page`` writes ``docs/mutation.md``, and drops of ``survivors.json`` what is not in its
module any more.  ``--check`` changes nothing: it fails where the page is not what its data make, or ``--page`` would
drop a survivor.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pages
from machine import facts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mutants import Mutant
    from mutation_runner import Copy

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutation"
PAGE = ROOT / "docs" / "mutation.md"
COMMAND = "python tools/mutation.py --page"
MEASURED, SURVIVORS = (ROOT / "docs" / "mutation" / name for name in ("measured.json", "survivors.json"))


class Tests(NamedTuple):
    """The test files that are to notice a module's mutants, those that are fast first.

    Attributes:
        light: Those that need no PyTorch, below ``tests/``.
        torch: Those that do, run where the others notice nothing.
    """

    light: tuple[str, ...]
    torch: tuple[str, ...] = ()


_APPLYING = ("test_applying.py", "hooks/test_call_function.py", "test_manager.py")
_FORKED = "test_locks.py::test_a_forked_process_waits_for_no_lock"
MODULES = {
    "compat/contract.py": Tests(
        ("test_applying.py", "hooks/test_call_function.py"), ("compat/test_contract.py",)
    ),
    "compat/releases.py": Tests(("test_applying.py",), ("compat/test_releases.py",)),
    "lowering_hooks/asked.py": Tests(("test_asked.py", "test_applying.py")),
    "lowering_hooks/manager.py": Tests((*_APPLYING, _FORKED)),
    "lowering_hooks/namespaces.py": Tests(("test_namespaces.py", "test_applying.py"), ("test_traced.py",)),
    "lowering_hooks/records.py": Tests(
        (
            "test_records.py",
            "test_notebook.py",
            "test_locks.py::test_nobody_waits_for_the_records",
            "test_locks.py::test_records_of_many_threads",
            "test_locks.py::test_a_reset_while_records_are_added_up",
        )
    ),
    "lowering_hooks/standing.py": Tests(("test_standing.py", *_APPLYING)),
    "lowering_hooks/hooks/__init__.py": Tests(_APPLYING),
    "lowering_hooks/hooks/allow_list.py": Tests(
        ("hooks/test_allow_list.py", "test_applying.py", "test_manager.py"), ("hooks/test_set_proxy.py",)
    ),
    "lowering_hooks/hooks/call_function.py": Tests(_APPLYING),
    "lowering_hooks/hooks/ir_text.py": Tests(
        ("hooks/test_limit.py", "test_manager.py", "test_applying.py"), ("hooks/test_ir_text.py",)
    ),
    "lowering_hooks/hooks/layout_constraints.py": Tests(
        ("hooks/test_layout_constraints.py", "test_applying.py")
    ),
    "lowering_hooks/hooks/limit.py": Tests(("hooks/test_limit.py",)),
    "lowering_hooks/hooks/mark.py": Tests(_APPLYING),
    "lowering_hooks/hooks/operator_text.py": Tests(("hooks/test_operator_text.py", *_APPLYING)),
    "lowering_hooks/hooks/set_proxy.py": Tests(_APPLYING, ("hooks/test_set_proxy.py",)),
    "lowering_hooks/hooks/writing.py": Tests(("hooks/test_limit.py",)),
}
# A run may take this many times as long as it takes on the module as it is, and some seconds.
_PATIENCE, _SECONDS = 4, 20


class _Stage:
    """One run of test files, on the module as it is and on mutants."""

    def __init__(self, copy: Copy, files: Sequence[str], *, torch: bool) -> None:
        self._copy = copy
        self._files = files
        self._torch = torch
        self._killers: Counter[str] = Counter()
        self._durations: dict[str, float] = {}
        self._deadline = 600.0
        for _ in range(2):  # the second time in the order that the mutants have
            result = self.run()
            if result.outcome != "passed":
                raise SystemExit(f"{files} on the module as it is: {result.outcome}\n{copy.output()[-4000:]}")
            self._durations = result.durations
        self._deadline = _PATIENCE * result.seconds + _SECONDS

    def run(self) -> Any:
        """Run the tests: those that noticed most mutants first, then the fastest."""
        order = sorted(self._durations, key=lambda test: (-self._killers[test], self._durations[test]))
        result = self._copy.run(self._files, self._deadline, order, torch=self._torch)
        if result.failed:
            self._killers[result.failed] += 1
        return result


def outcomes(copy: Copy, module: str, found: Sequence[Mutant]) -> Iterator[tuple[Mutant, dict[str, Any]]]:
    """Yield each mutant with what came of it."""
    source = (ROOT / module).read_text()
    tests = MODULES[module]
    stages = [
        _Stage(copy, files, torch=torch)
        for files, torch in ((tests.light, False), (tests.torch, True))
        if files
    ]
    try:
        copy.write(module, f"{source}\nraise RuntimeError('on purpose')\n")
        for stage in stages:
            if stage.run().outcome == "passed":
                raise SystemExit(f"{module}: the tests do not run it\n{copy.output()}")
        for mutant in found:
            copy.write(module, mutant.source)
            seconds = 0.0
            for stage in stages:
                result = stage.run()
                seconds += result.seconds
                if result.outcome != "passed":
                    break
            if result.outcome == "broken":
                raise SystemExit(f"{module}: no test was found\n{copy.output()}")
            outcome = "survived" if result.outcome == "passed" else result.outcome
            yield mutant, {"outcome": outcome, "test": result.failed, "seconds": round(seconds, 1)}
    finally:
        copy.write(module, source)


def run(copy: Copy, module: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the mutants of a module, and return what came of them."""
    from mutants import mutants

    before = outcomes_before(module) if arguments.again else {}
    found = mutants((ROOT / module).read_text())
    found = [mutant for mutant in found if arguments.only in mutant.function][:: arguments.every]
    noticed = {mutant: before.get(_hash(mutant), "survived") for mutant in found}
    noticed = {mutant: outcome for mutant, outcome in noticed.items() if outcome == "failed"}
    pending = [mutant for mutant in found if mutant not in noticed]
    # Before the run: the files may be edited while it lasts.
    when = run_of(module, len(pending)) if pending else run_before(module)
    survivors = []
    counts = Counter(noticed.values())
    with _log(module).open("a" if arguments.again else "w") as log:
        for mutant, came in outcomes(copy, module, pending):
            counts[came["outcome"]] += 1
            what = entry(module, mutant)
            print(json.dumps({"hash": _hash(mutant), **came, **what}), file=log, flush=True)
            if came["outcome"] == "survived":
                survivors.append(what)
                print(json.dumps(what, indent=1), flush=True)
    measured = {
        "mutants": len(found),
        "every": arguments.every,
        "killed": counts["failed"],
        "timeout": counts["timeout"],
        "survived": counts["survived"],
        **when,
    }
    print(module, measured, flush=True)
    return {"measured": measured, "survivors": survivors, "keys": [entry(module, mutant) for mutant in found]}


def run_of(module: str, ran: int) -> dict[str, Any]:
    """Return what is written down of a run of so many mutants of a module: when it was, where, and on what code."""
    return {"ran": ran, **facts(), **hashes(module)}


def run_before(module: str) -> dict[str, Any]:
    """Return what was written down of the last run of a module, for one in which nothing was left to run."""
    before = measured_before().get(module, {})
    return {name: before[name] for name in run_of(module, 0) if name in before}


def hashes(module: str) -> dict[str, str]:
    """Return the hash of a module, and that of the tests that it is judged by, as the files are now."""
    names = dict.fromkeys(name.partition("::")[0] for files in MODULES[module] for name in files)
    tests = b"".join((ROOT / "tests" / name).read_bytes() for name in names)
    return {"module": _digest((ROOT / module).read_bytes()), "tests": _digest(tests)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _log(module: str) -> Path:
    return BUILD / f"{module.replace('/', '-')}.jsonl"


def _hash(mutant: Mutant) -> str:
    return hashlib.sha256(repr((mutant.key, mutant.around)).encode()).hexdigest()


def outcomes_before(module: str) -> dict[str, str]:
    """Return what earlier runs of a module found out of mutants, by their hash."""
    lines = _log(module).read_text().splitlines() if _log(module).exists() else []
    return {found["hash"]: found["outcome"] for found in map(json.loads, lines)}


def entry(module: str, mutant: Mutant) -> dict[str, Any]:
    """Return what survivors.json has of a mutant, but the reason."""
    function, line, changed, number = mutant.key
    found: dict[str, Any] = {"module": module, "function": function, "line": line, "mutant": changed}
    if number > 1:
        found["number"] = number
    return found


def listed() -> list[dict[str, Any]]:
    """Return the survivors that may stay."""
    entries: list[dict[str, Any]] = json.loads(SURVIVORS.read_text())
    return entries


def _key(found: dict[str, Any]) -> tuple[Any, ...]:
    return found["module"], found["function"], found["line"], found["mutant"], found.get("number", 1)


def is_gone(survivor: dict[str, Any]) -> bool:
    """Tell whether the module of a survivor has no such line any more in that function."""
    source = (ROOT / survivor["module"]).read_text()
    inside = source if not survivor["function"] else _source_of(survivor["function"], source)
    return f" {survivor['line']} " not in f" {' '.join(inside.split())} "


def _source_of(function: str, source: str) -> str:
    """Return the source of a function or class by its qualified name; empty where there is none."""
    nodes: list[Any] = [ast.parse(source)]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for name in function.split("."):
        inside = [each for node in nodes for each in ast.walk(node)]
        nodes = [each for each in inside if isinstance(each, defined) and each.name == name]
    lines, found = source.splitlines(), []
    for node in nodes:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        found += lines[first - 1 : node.end_lineno]
    return "\n".join(found)


def drop_gone() -> None:
    """Leave those survivors out of the list whose line is gone."""
    staying = [survivor for survivor in listed() if not is_gone(survivor)]
    SURVIVORS.write_text(json.dumps(staying, indent=1, ensure_ascii=False) + "\n")


def differences(results: dict[str, dict[str, Any]]) -> list[str]:
    """Say where the survivors are others than those that are listed."""
    known = {_key(entry_) for entry_ in listed()}
    problems = []
    for module, result in results.items():
        survived = {_key(survivor) for survivor in result["survivors"]}
        ran = {_key(mutant) for mutant in result["keys"]}
        problems += [f"not in the list, and no test notices it: {key}" for key in sorted(survived - known)]
        problems += [f"in the list, and a test notices it: {key}" for key in sorted(known & ran - survived)]
        if result["measured"]["every"] == 1:
            gone = {key for key in known if key[0] == module} - ran
            problems += [f"in the list, and no such mutant: {key}" for key in sorted(gone)]
    return problems


HEAD = """\
# What the tests notice

<!-- Written by `nox -s mutation` from mutation/. -->

A mutant is the code with one place changed: a condition negated, an operand left out, a statement deleted, a number one
higher. Where no test fails on it, either nobody tests what that place does, or it does nothing that anybody could
notice. `nox -s mutation` makes the mutants of the modules below, which decide what is hooked and what is written, runs
tests on each until one fails, and fails where a mutant survives that is not in the list at the end of this page.

Most of the changes are those of [cosmic-ray](https://cosmic-ray.readthedocs.io); `tools/mutants.py` has the others, and
leaves out what nobody could notice: annotations, types, `__slots__`, lines at DEBUG, and the only assignment of a
variable. The tests of a module are those of `MODULES` in `tools/mutation.py`, the fast ones; what only a whole compile
or a random sequence of calls would notice counts as a survivor.

A mutant that runs out of time is counted apart: its tests went on for {patience} times as long as on the module as it is, and
{seconds} seconds more, because a loop does not end or because the machine was busy. With `-- --again` a mutant that a test noticed
before is not run again while its function is what it was; "run then" says how many were run on the last day that any was. A
module is "changed since" where it, or a file of its tests, was not what it had been in that run when this page was written. A survivor whose line is gone from
the module leaves the list when the page is written. Survivors that are "not listed" are without a reason so far.

"""


# Ends the last cell of a module that was changed since its run.
CHANGED = ", changed since"


def page(changed: Collection[str]) -> str:
    """Return ``docs/mutation.md`` as its data make it.

    Args:
        changed: The modules that it says were changed since their runs.
    """
    # Not where tests are run: the processes that run them import the package from the copy.
    sys.path.insert(0, str(ROOT))
    from lowering_hooks.cli.tables import table

    measured = measured_before()
    entries = listed()
    names = ("mutants", "killed", "timeout", "survived")
    rows: list[tuple[str, ...]] = []
    for module in MODULES:
        found = measured.get(module)
        if found is None:
            rows.append((f"`{module}`", "not run", "", "", "", "", ""))
            continue
        mutants = (
            f"{found['mutants']}" if found["every"] == 1 else f"{found['mutants']}, one in {found['every']}"
        )
        counted = [str(found[name]) for name in names[1:]]
        unlisted = found["survived"] - sum(survivor["module"] == module for survivor in entries)
        if unlisted > 0:
            counted[-1] += f", {unlisted} not listed"
        last = f"{found['date']}, {found['commit']}" + (CHANGED if module in changed else "")
        rows.append((f"`{module}`", mutants, *counted, str(found["ran"]), last))
    total = [str(sum(int(found[name]) for found in measured.values())) for name in names]
    rows.append(("all", *total, "", ""))
    head = HEAD.format(patience=_PATIENCE, seconds=_SECONDS)
    header = (
        "module",
        "mutants",
        "noticed",
        "out of time",
        "survived",
        "run then",
        "last run, and its commit",
    )
    parts = [head + table(header, rows)]
    parts.append(
        "## The survivors\n\nEach is a line of the module, what the mutant has in its place, and why no test need notice."
    )
    for module in MODULES:
        of_module = [found for found in entries if found["module"] == module]
        if of_module:
            lines = [
                f"- {_place(found)}: `` {found['line']} ``\n  becomes {_becomes(found)}.\n  {found['reason']}"
                for found in of_module
            ]
            parts.append(f"### `{module}`\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def changed_since() -> set[str]:
    """Return the modules that, or whose tests, are not what they were in the run that is written down."""
    return {
        module
        for module, found in measured_before().items()
        if {name: found.get(name) for name in ("module", "tests")} != hashes(module)
    }


def marked(text: str) -> set[str]:
    """Return the modules that a page says were changed since."""
    lines = [line for line in text.splitlines() if f"{CHANGED} |" in line]
    return {module for module in MODULES for line in lines if line.startswith(f"| `{module}` |")}


def check() -> int:
    """Return 1 where the page is not what its data make, or lists a line that is gone.

    A module that was edited since the page was written is no reason: every edit would be one.
    """
    gone = [survivor for survivor in listed() if is_gone(survivor)]
    for survivor in gone:
        print(f"{SURVIVORS.name}: no such line any more, run {COMMAND}: {_key(survivor)}", file=sys.stderr)
    return pages.check(PAGE, page(marked(PAGE.read_text())), COMMAND) or int(bool(gone))


def _place(found: dict[str, Any]) -> str:
    place = f"`{found['function']}`" if found["function"] else "the module"
    return place if found.get("number", 1) == 1 else f"{place} (number {found['number']})"


def _becomes(found: dict[str, Any]) -> str:
    return f"`` {found['mutant']} ``" if found["mutant"] else "nothing"


def measured_before() -> dict[str, dict[str, Any]]:
    """Return what is written down of each module."""
    found: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    return {module: found[module] for module in MODULES if module in found}


def take_in(results: dict[str, dict[str, Any]]) -> None:
    """Write down what was measured of whole modules, and the page."""
    measured = measured_before() | {module: result["measured"] for module, result in results.items()}
    MEASURED.write_text(
        json.dumps({module: measured[module] for module in MODULES if module in measured}, indent=1) + "\n"
    )
    write_page()


def write_page() -> None:
    """Write the page, without the survivors whose line is gone."""
    drop_gone()
    PAGE.write_text(page(changed_since()))


def chosen(names: Sequence[str]) -> list[str]:
    """Return the modules that have one of ``names`` in theirs, or all where there are no names.

    Raises:
        ValueError: No module has one of them.
    """
    for name in names:
        if not any(name in module for module in MODULES):
            raise ValueError(f"no such module: {name!r}; accepted: a part of {', '.join(MODULES)}")
    return [module for module in MODULES if not names or any(name in module for name in names)]


def main(given: Sequence[str] | None = None) -> int:
    """Run the mutants that the arguments, or ``given`` ones, choose; return 1 where the survivors are others than the list's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--every", type=int, default=1, metavar="K")
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args(given)
    if arguments.page:
        write_page()
        return 0
    if arguments.check:
        return check()
    try:
        modules = chosen(arguments.modules)
    except ValueError as unknown:
        parser.error(str(unknown))
    from mutation_runner import Copy

    results = {}
    BUILD.mkdir(parents=True, exist_ok=True)
    copy = Copy(BUILD / f"copy-{'-'.join(Path(module).stem for module in modules)[:60]}")
    try:
        for module in modules:
            results[module] = run(copy, module, arguments)
    finally:
        copy.close()
    if not arguments.only:
        take_in(results)
    problems = [] if arguments.only else differences(results)
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
