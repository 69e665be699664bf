"""Says whether the tests notice when the code is another: mutation testing of the modules that decide.

``python tools/mutation.py [MODULE ...]`` makes the mutants of the modules (``mutants.py``), runs for each the tests
that ``MODULES`` names until one fails (``mutation_runner.py``), and compares the mutants that no test noticed with
``docs/mutation/survivors.json``, which says of each why it may stay.  It fails where they are others.  With
``--every K`` it runs each K-th mutant only, and with ``--only TEXT`` those whose function has that text in its name.
``--page`` writes ``docs/mutation.md``, and ``--check`` compares it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mutants import Mutant
    from mutation_runner import Copy

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutation"
DATA = ROOT / "docs" / "mutation"
PAGE = ROOT / "docs" / "mutation.md"


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
    "compat/contract.py": Tests(("test_applying.py", "hooks/test_call_function.py"), ("compat/test_contract.py",)),
    "compat/releases.py": Tests(("test_applying.py",), ("compat/test_releases.py",)),
    "lowering_hooks/asked.py": Tests(("test_asked.py", "test_applying.py")),
    "lowering_hooks/manager.py": Tests((*_APPLYING, _FORKED)),
    "lowering_hooks/namespaces.py": Tests(("test_namespaces.py", "test_applying.py")),
    "lowering_hooks/records.py": Tests(
        (
            "test_records.py",
            "test_notebook.py",
            "test_locks.py::test_nobody_waits_for_the_records",
            "test_locks.py::test_records_of_many_threads",
            "test_locks.py::test_a_reset_while_records_are_added_up",
        )
    ),
    "lowering_hooks/standing.py": Tests(_APPLYING),
    "lowering_hooks/hooks/__init__.py": Tests(_APPLYING),
    "lowering_hooks/hooks/allow_list.py": Tests(("test_applying.py", "test_manager.py"), ("hooks/test_set_proxy.py",)),
    "lowering_hooks/hooks/call_function.py": Tests(_APPLYING, ("test_beside_others.py",)),
    "lowering_hooks/hooks/ir_text.py": Tests(("test_manager.py",), ("hooks/test_ir_text.py", "hooks/test_writing.py")),
    "lowering_hooks/hooks/layout_constraints.py": Tests(("test_applying.py",), ("hooks/test_set_proxy.py",)),
    "lowering_hooks/hooks/limit.py": Tests((), ("hooks/test_writing.py", "hooks/test_ir_text.py")),
    "lowering_hooks/hooks/mark.py": Tests(_APPLYING),
    "lowering_hooks/hooks/operator_text.py": Tests(_APPLYING, ("hooks/test_writing.py", "describe/test_op.py")),
    "lowering_hooks/hooks/set_proxy.py": Tests(_APPLYING, ("hooks/test_set_proxy.py",)),
    "lowering_hooks/hooks/writing.py": Tests((), ("hooks/test_writing.py", "hooks/test_ir_text.py")),
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


def outcomes(copy: Copy, module: str, found: Sequence[Mutant]) -> Iterator[tuple[Mutant, str, str]]:
    """Yield each mutant with what came of it, and the test that noticed it."""
    source = (ROOT / module).read_text()
    tests = MODULES[module]
    stages = [
        _Stage(copy, files, torch=torch) for files, torch in ((tests.light, False), (tests.torch, True)) if files
    ]
    try:
        for mutant in found:
            copy.write(module, mutant.source)
            result = None
            for stage in stages:
                result = stage.run()
                if result.outcome != "passed":
                    break
            assert result is not None
            yield mutant, "survived" if result.outcome == "passed" else result.outcome, result.failed
    finally:
        copy.write(module, source)


def run(copy: Copy, module: str, every: int, only: str) -> dict[str, Any]:
    """Run the mutants of a module, and return what came of them."""
    from mutants import mutants

    start = time.monotonic()
    found = [mutant for mutant in mutants((ROOT / module).read_text()) if only in mutant.function]
    found = found[::every]
    counts: Counter[str] = Counter()
    survivors = []
    for mutant, outcome, test in outcomes(copy, module, found):
        counts[outcome] += 1
        with (BUILD / "log.txt").open("a") as log:
            print(f"{sum(counts.values())}/{len(found)} {time.monotonic() - start:.0f} s {outcome} {test}", *mutant.key, file=log)
        if outcome == "survived":
            survivors.append(entry(module, mutant))
            print(json.dumps(survivors[-1], indent=1), flush=True)
        if outcome == "broken":
            raise SystemExit(f"{module}: no test was found")
    seconds = round(time.monotonic() - start)
    measured = {
        "mutants": len(found),
        "every": every,
        "killed": counts["failed"],
        "timeout": counts["timeout"],
        "survived": counts["survived"],
        "seconds": seconds,
        "date": datetime.date.today().isoformat(),
    }
    print(module, measured, flush=True)
    return {"measured": measured, "survivors": survivors, "keys": [entry(module, mutant) for mutant in found]}


def entry(module: str, mutant: Mutant) -> dict[str, Any]:
    """Return what survivors.json has of a mutant, but the reason."""
    function, line, changed, number = mutant.key
    found: dict[str, Any] = {"module": module, "function": function, "line": line, "mutant": changed}
    if number > 1:
        found["number"] = number
    return found


def listed() -> list[dict[str, Any]]:
    """Return the survivors that may stay."""
    entries: list[dict[str, Any]] = json.loads((DATA / "survivors.json").read_text())
    return entries


def _key(found: dict[str, Any]) -> tuple[Any, ...]:
    return found["module"], found["function"], found["line"], found["mutant"], found.get("number", 1)


def differences(results: dict[str, dict[str, Any]]) -> list[str]:
    """Say where the survivors are others than those that are listed."""
    reasons = {_key(known): known["reason"] for known in listed()}
    problems = []
    for module, result in results.items():
        survived = {_key(survivor) for survivor in result["survivors"]}
        ran = {_key(mutant) for mutant in result["keys"]}
        problems += [f"no test notices it, and the list has it not: {key}" for key in sorted(survived - set(reasons))]
        for key in reasons:
            if key[0] == module and key not in survived and (key in ran or result["measured"]["every"] == 1):
                problems.append(f"{'a test notices it' if key in ran else 'no such mutant'}, and the list has it: {key}")
    return problems


def main() -> int:
    """Run the mutants that the arguments choose; return 1 where the survivors are others than the list's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--every", type=int, default=1, metavar="K")
    parser.add_argument("--only", default="", metavar="TEXT")
    arguments = parser.parse_args()
    from mutation_runner import Copy

    modules = [module for module in MODULES if not arguments.modules or any(name in module for name in arguments.modules)]
    results = {}
    BUILD.mkdir(parents=True, exist_ok=True)
    copy = Copy(BUILD / f"copy-{'-'.join(Path(module).stem for module in modules)[:60]}")
    try:
        for module in modules:
            results[module] = run(copy, module, arguments.every, arguments.only)
            path = BUILD / f"{module.replace('/', '-')}.json"
            path.write_text(json.dumps(results[module], indent=1))
    finally:
        copy.close()
    problems = differences(results) if not arguments.only else []
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
