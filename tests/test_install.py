"""Where the package is found: installed, in a checkout, beside both, in a zip.  Needs no PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from fresh_process import DEADLINE, environment

CHECKOUT = Path(__file__).parent.parent
ENTRY_POINTS = "_lowering_hooks_autoload.py"

# Prints the files that Python found for the package, its compat and the entry points, and the folders that the
# package added to its __path__.
FIND = """
import json
import _lowering_hooks_autoload
_lowering_hooks_autoload.torch_backend()
import lowering_hooks
from lowering_hooks import compat
assert lowering_hooks.status().reason
assert compat.choose("2.12.1").strategy == "call_function"
files = [module.__file__ for module in (lowering_hooks, compat, _lowering_hooks_autoload)]
print(json.dumps([files, list(lowering_hooks.__path__)[1:]]))
"""


class Layout:
    """A folder that Python finds the package in, and what it must find there."""

    def __init__(self, folder: Path, compat: Path, added: list[Path]) -> None:
        self.folder = folder
        self.files = [folder / "lowering_hooks/__init__.py", compat / "__init__.py", folder / ENTRY_POINTS]
        self.added = added

    def expected(self) -> list[list[str]]:
        return [[str(file) for file in self.files], [str(folder) for folder in self.added]]


def checkout(folder: Path) -> Layout:
    """Copy what a checkout has: compat beside the package."""
    _copy("lowering_hooks", folder / "lowering_hooks")
    _copy("compat", folder / "compat")
    shutil.copy(CHECKOUT / ENTRY_POINTS, folder)
    return Layout(folder, folder / "compat", [folder])


def installed(folder: Path) -> Layout:
    """Copy what an install makes: compat inside the package."""
    _copy("lowering_hooks", folder / "lowering_hooks")
    _copy("compat", folder / "lowering_hooks" / "compat")
    shutil.copy(CHECKOUT / ENTRY_POINTS, folder)
    return Layout(folder, folder / "lowering_hooks" / "compat", [])


def _copy(name: str, to: Path) -> None:
    shutil.copytree(CHECKOUT / name, to, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def find(cache: Path, tmp_path: Path):
    """Run FIND in a fresh process and return what it prints."""

    def found(
        *options: str, cwd: Path = tmp_path, path: Path | str = "", code: str = FIND
    ) -> list[list[str]]:
        done = subprocess.run(
            [sys.executable, *options, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
            cwd=cwd,
            env=environment(cache, PYTHONPATH=str(path)),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return found


@pytest.mark.parametrize("name", ["checkout", "a folder with blanks"])
def test_python_started_in_a_checkout(find, tmp_path, name) -> None:
    """Python started in a checkout works without an install, and finds the checkout's own compat."""
    layout = checkout(tmp_path / name)
    assert find(cwd=layout.folder) == layout.expected()


def test_checkout_beside_an_install(find, tmp_path) -> None:
    """Beside an ordinary install, Python finds the checkout there and the install elsewhere, never half of each."""
    here, there = checkout(tmp_path / "checkout"), installed(tmp_path / "site")
    assert find(cwd=here.folder, path=there.folder) == here.expected()
    assert find(cwd=tmp_path, path=there.folder) == there.expected()


def test_command_in_a_checkout(cache, tmp_path) -> None:
    """``python -m lowering_hooks status`` works in a checkout."""
    layout = checkout(tmp_path / "checkout")
    command = [sys.executable, "-m", "lowering_hooks", "status", "--json"]
    variables = environment(cache, LOWERING_HOOKS="0")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        cwd=layout.folder,
        env=variables,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "inactive"


def test_checkout_through_a_link(find, tmp_path) -> None:
    """A link to a checkout, or to the package in it, leads to the compat beside the real package."""
    layout = checkout(tmp_path / "checkout")
    (tmp_path / "link").symlink_to(layout.folder, target_is_directory=True)
    (tmp_path / "links").mkdir()
    for name in ("lowering_hooks", ENTRY_POINTS):
        (tmp_path / "links" / name).symlink_to(layout.folder / name)
    for folder in (tmp_path / "link", tmp_path / "links"):
        files, added = find(path=folder)
        assert [Path(file).resolve() for file in files] == layout.files
        assert added == [str(layout.folder)]


@pytest.mark.parametrize("option", ["-O", "-I", "-s"])
def test_options_of_python(find, tmp_path, option) -> None:
    """Isolated or optimized, Python finds a checkout and an install alike."""
    for layout in (checkout(tmp_path / "checkout"), installed(tmp_path / "site")):
        code = f"import sys; sys.path.insert(0, {str(layout.folder)!r})\n{FIND}"
        assert find(option, code=code) == layout.expected()


def test_zip(find, tmp_path) -> None:
    """The package works in a zip, such as the wheel, and looks nowhere else for its modules."""
    layout = installed(tmp_path / "site")
    archive = tmp_path / "lowering_hooks.whl"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(layout.folder.rglob("*.py")):
            opened.write(file, file.relative_to(layout.folder))
    assert find(path=archive) == Layout(archive, archive / "lowering_hooks" / "compat", []).expected()


def test_somebody_elses_compat(find, tmp_path) -> None:
    """An install takes no other package called compat for its own, and its modules from nowhere else."""
    layout = installed(tmp_path / "site")
    (layout.folder / "compat").mkdir()
    (layout.folder / "compat" / "__init__.py").write_text("raise ImportError('not ours')\n")
    assert find(path=layout.folder) == layout.expected()


def test_an_install_that_lost_its_compat(find, tmp_path) -> None:
    """Where compat is missing altogether, the entry points say so in one line and raise nothing."""
    layout = installed(tmp_path / "site")
    shutil.rmtree(layout.folder / "lowering_hooks" / "compat")
    code = """
import contextlib, io, json, sys
# Where these tests run on an editable install, its finder would still find compat.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import _lowering_hooks_autoload
with contextlib.redirect_stderr(io.StringIO()) as printed:
    _lowering_hooks_autoload.torch_backend()
    _lowering_hooks_autoload.vllm_plugin()
assert "lowering_hooks" not in sys.modules
print(json.dumps(printed.getvalue().splitlines()))
"""
    (line,) = find(path=layout.folder, code=code)
    assert "ModuleNotFoundError: No module named 'lowering_hooks.compat'" in line


def ordinary_install() -> Distribution:
    """Return the install that these tests run on; skips where it is an editable one, or there is none."""
    try:
        found = distribution("lowering-hooks")
    except PackageNotFoundError:
        pytest.skip("not installed")
    if found.read_text("RECORD") is None:
        pytest.skip("the metadata of an unpacked source distribution, and not installed")
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable") or found.files is None:
        pytest.skip("installed with -e")
    return found


def test_an_install_without_its_checkout() -> None:
    """No installed module, and no file that Python reads when it starts, names the folder it was installed from."""
    found = ordinary_install()
    files = [Path(str(found.locate_file(file))) for file in found.files or ()]
    installed_files = [file for file in files if ".dist-info" not in str(file) and file.exists()]
    assert {"__init__.py", ENTRY_POINTS} <= {file.name for file in installed_files}
    # The environment itself may lie in the checkout, as nox's do: console scripts and bytecode name it.
    contents = {file: file.read_bytes().replace(sys.prefix.encode(), b"") for file in installed_files}
    named = [file for file, content in contents.items() if str(CHECKOUT).encode() in content]
    assert not named


@pytest.mark.parametrize("group", ["torch.backends", "vllm.general_plugins"])
def test_entry_points_of_an_install(find, tmp_path, group) -> None:
    """Started elsewhere or in a checkout, Python loads one entry point for each group, and it applies the package."""
    ordinary_install()
    layout = checkout(tmp_path / "checkout")
    code = f"""
import importlib.metadata, json, os, sys
(entry,) = [e for e in importlib.metadata.entry_points(group={group!r}) if e.name == "lowering_hooks"]
entry.load()()
modules = [sys.modules[name].__file__ for name in ("lowering_hooks", "_lowering_hooks_autoload")]
print(json.dumps([os.path.relpath(file) for file in modules]))
"""
    in_checkout = find(cwd=layout.folder, code=code)
    assert in_checkout == ["lowering_hooks/__init__.py", ENTRY_POINTS]
    elsewhere = find(cwd=tmp_path, code=code)
    assert [file.startswith("..") for file in elsewhere] == [True, True]
