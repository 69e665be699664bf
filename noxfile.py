"""Development sessions.  ``nox -l`` lists them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from compat import RELEASES

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "lint"]
nox.options.error_on_missing_interpreters = True

SERIES = [row.series for row in RELEASES]

# An index that has PyTorch's CPU builds, for those who have one: they are a tenth of the size.
TORCH_INDEX = os.environ.get("TORCH_INDEX")


def install_torch(session: nox.Session, series: str, *others: str) -> None:
    """Install the checkout with a release of ``series`` and what a compile on CPU wants."""
    index = ["--index", TORCH_INDEX] if TORCH_INDEX else []
    session.install(*index, f"torch=={series}.*", "-e", ".[demo]", *others)


@nox.session
@nox.parametrize("torch", SERIES)
def tests(session: nox.Session, torch: str) -> None:
    """Run the tests on one PyTorch series, or on all."""
    install_torch(session, torch, "pytest", "pytest-xdist")
    # loadfile: the tests of one file share the compiles of a session fixture.
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo on the newest series whose log text is eager, where stock hangs whatever is logged."""
    install_torch(session, next(row.series for row in RELEASES if row.log_text == "eager"))
    session.run("lowering-hooks", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, and mypy on the installed package, where compat is in its place."""
    # A new ruff may format otherwise.
    session.install("ruff==0.17.*", "mypy==2.*", "packaging", "wrapt")
    session.install("--no-deps", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    config = Path("pyproject.toml").resolve()
    session.chdir(session.create_tmp())
    session.run("mypy", "--config-file", str(config), "-p", "lowering_hooks")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, look into it, and run it in an environment that has nothing else."""
    session.install("build", "packaging", "wrapt")
    dist = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    (built,) = dist.glob("*.whl")
    session.run("python", "tests/check_wheel.py", str(built))
    session.install("--no-deps", "--force-reinstall", str(built))
    session.chdir(dist)
    session.run("lowering-hooks", "status")
    session.run("python", "-m", "lowering_hooks", "status", "--json")
