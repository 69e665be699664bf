"""What is read of a wheel: in which namespaces it defines ops, and where that cannot be told.  Needs no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

with pytest.MonkeyPatch.context() as paths:
    # The tool puts the checkout in front, where the tests of an install must not find it.
    paths.syspath_prepend(ROOT)
    import wheel_namespaces
    from wheel_namespaces import main, problems, read, read_compiled, read_cpp, read_python

    from compat.namespaces import VLLM

DEFINES, IMPLEMENTS, CALLS = wheel_namespaces.HOWS

PYTHON = {
    'Library("a", "DEF")': {(DEFINES, "a")},
    'torch.library.Library("a", "FRAGMENT")': {(DEFINES, "a")},
    'Library("aten", "IMPL", "CUDA")': {(IMPLEMENTS, "aten")},
    'Library(ns="a", kind="FRAGMENT")': {(DEFINES, "a")},
    'from torch.library import Library as L\nL("a", "DEF")': {(DEFINES, "a")},
    'NAME = "a"\nLibrary(NAME, "DEF")': {(DEFINES, "a")},
    'def f():\n    name: str = "a"\n    return Library(name, "DEF")': {(DEFINES, "a")},
    '@torch.library.custom_op("a::op", mutates_args=())\ndef op(): ...': {(DEFINES, "a")},
    '@custom_op(name="a::op")\ndef op(): ...': {(DEFINES, "a")},
    '@triton_op(f"a::{name}")\ndef op(): ...': {(DEFINES, "a")},
    'NAME = "a"\ncustom_op(f"{NAME}::op")': {(DEFINES, "a")},
    'NAME = "a"\ncustom_op(NAME + "::" + op)': {(DEFINES, "a")},
    'torch.library.define("a::op", "(Tensor x) -> Tensor")': {(DEFINES, "a")},
    'direct_register_custom_op("op", f, [], fake)': {(DEFINES, "vllm")},
    'torch.ops.a.op(x)': {(CALLS, "a")},
    'getattr(torch.ops, "a")': {(CALLS, "a")},
    'SOURCE = "TORCH_LIBRARY(a, m) {}"': {(DEFINES, "a")},
    # Not torch's, or no namespace.
    'Library("a")': set(),
    'Library("a", "books")': set(),
    'library.define("op(Tensor x) -> Tensor")': set(),
    'library.define("op(c10::Tensor x) -> Tensor")': set(),
    'macros.define(name, value)': set(),
    'torch.ops.load_library("a.so")': set(),
    'getattr(torch.ops, name)': set(),
    'Library(name, "IMPL")': set(),
    '"""TORCH_LIBRARY(a, m)"""': set(),
    'direct_register_custom_op("op", f, target_lib=library)': set(),
    'direct_register_custom_op("op", f, [], fake, library)': set(),
    'prepare("a::op")': set(),
}  # fmt: skip


@pytest.mark.parametrize(("source", "found"), PYTHON.items(), ids=PYTHON)
def test_python(source: str, found: set[tuple[str, str]]) -> None:
    """What a module of Python does with namespaces."""
    assert read_python(source) == (found, ())


@pytest.mark.parametrize(
    "source",
    [
        'Library(name, "DEF")',
        'Library(f"{name}_lib", "FRAGMENT")',
        'custom_op(f"{name}::op")',
        "custom_op(name)",
        'name = "a"\nname = "b"\nLibrary(name, "DEF")',
        'name = "a"\nname = other()\nLibrary(name, "DEF")',
        'name = "a"\nfor name in names:\n    Library(name, "DEF")',
        'name = "a"\ndef f(name):\n    Library(name, "DEF")',
    ],
)
def test_python_that_hides(source: str) -> None:
    """A namespace that only running the module would tell is told to be hidden, with the source."""
    found, hidden = read_python(source)
    assert not found
    assert hidden == (source.splitlines()[-1].strip().replace('"', "'"),)


CPP = {
    "TORCH_LIBRARY(a, m) {": {(DEFINES, "a")},
    "TORCH_LIBRARY_FRAGMENT( a , m) {": {(DEFINES, "a")},
    "STABLE_TORCH_LIBRARY(a, m) {": {(DEFINES, "a")},
    "STABLE_TORCH_LIBRARY_FRAGMENT(a, m) {": {(DEFINES, "a")},
    "TORCH_LIBRARY_EXPAND(a, m) {": {(DEFINES, "a")},
    "TORCH_LIBRARY_IMPL(a, CUDA, m) {": {(IMPLEMENTS, "a")},
    "STABLE_TORCH_LIBRARY_IMPL(a, CUDA, m) {": {(IMPLEMENTS, "a")},
    "TORCH_LIBRARY_IMPL(_, Autograd, m) {": set(),
    "TORCH_LIBRARY_IMPL({namespace}, {key}, m) {": set(),
    "// TORCH_LIBRARY(a, m)": set(),
    "/* such as\n TORCH_LIBRARY(a, m) */": set(),
    "#define MINE(a, m) \\\n  TORCH_LIBRARY(a, m)\nTORCH_LIBRARY(b, m)": {(DEFINES, "b")},
    "MY_TORCH_LIBRARY(a, m)": set(),
}


@pytest.mark.parametrize(("source", "found"), CPP.items(), ids=CPP)
def test_cpp(source: str, found: set[tuple[str, str]]) -> None:
    """What a source of C++ does with namespaces."""
    assert read_cpp(source) == (found, ())


@pytest.mark.parametrize(
    ("source", "macro"),
    [
        ("TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, m) {", "TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME,"),
        ("TORCH_LIBRARY(%s, m) {", "TORCH_LIBRARY("),
    ],
)
def test_cpp_that_hides(source: str, macro: str) -> None:
    """A namespace that is set later, by an option of the compiler or a program, is hidden."""
    found, hidden = read_cpp(source)
    assert not found
    assert hidden == (macro,)
    assert read_python(f"SOURCE = {source!r}").hidden == (macro,)


# As the macros of torch/library.h expand, and what they call.
EXTENSION = """
namespace torch {
class Library { public: Library(int kind, const char* ns); };
struct TorchLibraryInit { TorchLibraryInit(void (*init)(Library&), const char* ns); };
}
#define INIT(name, ns) \\
  static void name##init_##ns(torch::Library&); \\
  static const torch::TorchLibraryInit name##static_init_##ns(&name##init_##ns, #ns); \\
  void name##init_##ns(torch::Library& m) { torch::Library again(0, #ns); }
INIT(TORCH_LIBRARY_, lib_one)
INIT(TORCH_LIBRARY_FRAGMENT_, lib_2_3)
INIT(TORCH_LIBRARY_IMPL_, aten_CUDA_4)
namespace inner { INIT(STABLE_TORCH_LIBRARY_, lib5) }
INIT(STABLE_TORCH_LIBRARY_IMPL_, _Autograd_6)
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Compile an extension, with its symbols and without."""
    folder = tmp_path_factory.mktemp("extension")
    source = folder / "extension.cpp"
    source.write_text(EXTENSION)
    found = {}
    for name, options in (("with symbols", ()), ("stripped", ("-s",))):
        file = folder / f"{name}.so"
        command = ["g++", "-shared", "-fPIC", *options, str(source), "-o", str(file)]
        subprocess.run(command, check=True)
        found[name] = file.read_bytes()
    return found


def test_compiled(compiled: dict[str, bytes]) -> None:
    """The namespaces of a compiled file are read to the letter, whatever letters and digits they end with."""
    assert read_compiled(compiled["with symbols"]) == (
        {(DEFINES, "lib_one"), (DEFINES, "lib_2"), (IMPLEMENTS, "aten"), (DEFINES, "lib5")},
        (),
    )


def test_compiled_that_hides(compiled: dict[str, bytes]) -> None:
    """A stripped file that registers ops is told to hide their namespaces; one that registers none is not."""
    assert read_compiled(compiled["stripped"]) == (set(), ("_ZN5torch7LibraryC1E",))
    assert read_compiled(b"\x7fELF and nothing of PyTorch") == (set(), ())


def test_installed_torch() -> None:
    """PyTorch's own library is read: its macros name their functions as ever."""
    torch = pytest.importorskip("torch")
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not library.exists():
        pytest.skip(f"no {library.name}")
    found, hidden = read_compiled(library.read_bytes())
    defined = {namespace for how, namespace in found if how == DEFINES}
    assert {"aten", "c10d", "mkldnn", "quantized"} <= defined
    assert hidden == ()


@pytest.fixture
def wheel(tmp_path: Path, compiled: dict[str, bytes]) -> Path:
    """Make a wheel whose files define, implement and call ops."""
    files: dict[str, str | bytes] = {
        "pack/__init__.py": 'Library("vllm", "FRAGMENT")\ntorch.ops.lib_one.op()',
        "pack/other.py": 'Library("vllm", "FRAGMENT")',
        "pack/third.py": 'Library("vllm", "FRAGMENT")',
        "pack/fourth.py": 'Library("vllm", "FRAGMENT")',
        "pack/_ext.abi3.so": compiled["with symbols"],
        "pack/jit/bindings.cpp": "TORCH_LIBRARY(jitted, m) {}",
        "pack/data.txt": "TORCH_LIBRARY(text, m) {}",
    }
    path = tmp_path / "pack-1.10-cp38-abi3-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_wheel(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each namespace is printed with the files that do something with its ops, not all where they are many."""
    assert main([str(wheel)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{wheel.name}\n  aten\n    implements  pack/_ext.abi3.so\n  jitted\n")
    assert "  lib_one\n    defines     pack/_ext.abi3.so\n    calls       pack/__init__.py\n" in printed
    assert "    defines     pack/__init__.py, pack/fourth.py, pack/other.py and 1 more\n" in printed
    assert "text" not in printed


def test_folder(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder where a package is installed is read as its wheel is."""
    folder = wheel.parent / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    assert read(folder / "pack").files == read(wheel).files
    with pytest.raises(SystemExit):
        main(["--record", str(folder / "record.json"), str(folder / "pack")])
    assert "only wheels can be recorded" in capsys.readouterr().err


def test_check(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails with each namespace that the table lacks, and passes a wheel that has none."""
    assert main(["--check", str(wheel)]) == 1
    printed = capsys.readouterr().out
    for namespace, file in (("lib_one", "pack/_ext.abi3.so"), ("jitted", "pack/jit/bindings.cpp")):
        assert (
            f"compat/namespaces.py lacks {namespace!r}, which {wheel.name} defines ops in: {file}" in printed
        )
    assert "lacks 'vllm'" not in printed
    assert "lacks 'aten'" not in printed

    known = wheel.with_name("known-1-py3-none-any.whl")
    with zipfile.ZipFile(known, "w") as archive:
        archive.writestr("known.py", "\n".join(f'Library("{name}", "DEF")' for name in VLLM))
    assert main(["--check", str(known)]) == 0
    assert f"has all that {known.name} defines ops in" in capsys.readouterr().out
    assert main(["--check", str(known), str(wheel)]) == main(["--check", str(wheel), str(known)]) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("pack/a.py", 'Library(name, "DEF")'), ("pack/a.py", "def {{ name }}"), ("pack/a.so", None)],
    ids=["unknown", "no Python", "stripped"],
)
def test_check_what_hides(tmp_path: Path, compiled: dict[str, bytes], name: str, content: str | None) -> None:
    """It fails where a file may define ops in any namespace."""
    path = tmp_path / "pack-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, compiled["stripped"] if content is None else content)
    (problem,) = problems(read(path))
    assert problem.startswith(f"{name} of {path.name} hides in which namespace it registers ops: ")


def test_tests_of_pytorch(tmp_path: Path) -> None:
    """Of a wheel of PyTorch they are left out, and so are the functions that register what others name."""
    path = tmp_path / "torch-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("torch/testing/a.py", 'Library("testlib", "DEF")')
        archive.writestr("torch/library.py", 'def define(name): Library(name, "DEF")\nLibrary("aten", "DEF")')
        archive.writestr("torch/b.py", 'Library("vllm", "DEF")')
    found = read(path)
    assert list(found.files[DEFINES]) == ["aten", "vllm"]
    (problem,) = problems(found)
    assert "lacks 'vllm'" in problem


def test_record(wheel: Path) -> None:
    """A record takes the place of an earlier one of the same wheel; wheels are in the order of their versions."""
    file, older = wheel.with_name("record.json"), wheel.with_name("pack-1.9-py3-none-any.whl")
    with zipfile.ZipFile(older, "w") as archive:
        archive.writestr("pack.py", "")
    for path in (wheel, older, wheel):
        assert main(["--record", str(file), str(path)]) == 0
    first, second = json.loads(file.read_text())
    assert [first["wheel"], second["wheel"]] == [older.name, wheel.name]
    assert (first["defines"], first["calls"]) == ({}, [])
    assert sorted(second["defines"]) == ["jitted", "lib5", "lib_2", "lib_one", "vllm"]
    assert second["calls"] == ["lib_one"]
    assert second["implements"] == ["aten"]
    assert len(second["sha256"]) == 64
    assert second["sha256"] != first["sha256"]


def test_requirement(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A requirement is downloaded without what it needs, read, and deleted."""
    commands, folders = [], []

    def download(command: list[str], *, check: bool) -> None:
        assert not check
        commands.append(command)
        folders.append(Path(command[command.index("--dest") + 1]))
        (folders[0] / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(subprocess, "run", download)
    assert main(["pack==1.10"]) == 0
    assert capsys.readouterr().out.startswith(wheel.name)
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-1] == "pack==1.10"
    assert "--no-deps" in command
    assert not folders[0].exists()


def test_no_such_requirement(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is nothing to read, the exit status is 2, and one line says so below what pip says."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    assert main(["--check", "pack==0"]) == 2
    assert capsys.readouterr().err == (
        "pack==0: no such file or folder, and pip has downloaded no such wheel\n"
    )
