"""Reads off wheels in which namespaces they register ops, and compares that with compat/namespaces.py.

``python tools/wheel_namespaces.py WHEEL ...`` prints for each namespace which files of the wheel define ops in
it, implement ops of it, or call ops of it.  Nothing of the wheel is installed, imported or run.  A folder of
an installed package may stand in the place of a wheel; so may a requirement such as ``vllm==0.33.0``, whose
wheel ``pip`` downloads into a folder that is deleted afterwards.

``--check`` fails where the table lacks a namespace that a wheel defines ops in, or where a file hides its
namespaces.  ``--record FILE`` writes what was read into a file, which the tests compare the table with.
It needs nothing but the standard library, ``packaging``, and ``pip`` where there is something to download.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, NamedTuple

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
# compat stands at the top of the checkout.
sys.path.insert(0, str(ROOT))

from compat.namespaces import PYTORCH, VLLM

# What a file does with the ops of a namespace.
How = Literal["defines", "implements", "calls"]
HOWS: Final[tuple[How, ...]] = ("defines", "implements", "calls")

# At most this many files are named where several do the same.
MAX_NAMED: Final = 3


class Reading(NamedTuple):
    """What one file does with namespaces.

    Attributes:
        found: Pairs of what the file does, and the namespace.
        hidden: What may define ops in a namespace that only running it would tell: sources or symbols.
    """

    found: frozenset[tuple[How, str]]
    hidden: tuple[str, ...] = ()


NOTHING: Final = Reading(frozenset())


class Found(NamedTuple):
    """What a wheel does with namespaces.

    Attributes:
        name: The name of the wheel's file, or of the folder.
        sha256: The wheel's hash; empty for a folder.
        files: By what is done and by namespace, the sorted names of the files that do it.
        hidden: Pairs of a file and what registers ops there in a namespace that is not known.
    """

    name: str
    sha256: str
    files: dict[How, dict[str, list[str]]]
    hidden: tuple[tuple[str, str], ...]


# Python.

# PyTorch 2.0-2.15: functions of torch.library whose first argument is the name of a new op (`define` and
# `custom_op` with "::" in it, `triton_op` on 2.6 and later); if missing: no source has them.
NAMING: Final = ("custom_op", "define", "triton_op")
# PyTorch 2.0-2.15: the kinds of torch.library.Library, and those of torch::Library; if missing: the same.
KINDS: Final[dict[str, How]] = {"DEF": "defines", "FRAGMENT": "defines", "IMPL": "implements"}
# PyTorch 2.0-2.15: attributes of torch.ops that are no namespaces; if missing: nothing changes.
NO_NAMESPACES: Final = frozenset(
    {"_dir", "higher_order", "import_module", "load_library", "loaded_libraries"}
)
# vLLM 0.8.5-0.33.0: a function that registers an op in the library that is its fifth argument, else in vLLM's
# own; if missing: no source has it.
VLLM_HELPER: Final = "direct_register_custom_op"
VLLM_HELPER_LIBRARY: Final = "target_lib"
VLLM_HELPER_MAX_BEFORE: Final = 4
# Stands in a text for what is known only when the program runs.
UNKNOWN: Final = "\0"


def read_python(source: str) -> Reading:
    """Read a module of Python, which may hold C++ in its strings."""
    tree = ast.parse(source)
    names = _Names(tree)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found: set[tuple[How, str]] = set()
    hidden: list[str] = []
    for node in ast.walk(tree):
        namespace: str | None = None
        how: How = "defines"
        if isinstance(node, ast.Attribute) and _is_torch_ops(node.value):
            how, namespace = "calls", node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            reading = read_cpp(node.value)
            found |= reading.found
            hidden += reading.hidden
        elif isinstance(node, ast.Call):
            how, namespace = _done_by(node, names)
            if namespace == UNKNOWN and how == "defines":
                hidden.append(ast.unparse(node))
        if namespace and re.fullmatch(r"\w+", namespace) and namespace not in NO_NAMESPACES:
            found.add((how, namespace))
    return Reading(frozenset(found), tuple(hidden))


def _done_by(node: ast.Call, names: _Names) -> tuple[How, str | None]:
    """Return what a call does with which namespace, or with UNKNOWN; with None where it does nothing of it."""
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    function = names.of_function(node.func)
    if function == "Library":
        arguments = [*node.args, *(keywords[name] for name in ("ns", "kind") if name in keywords)]
        kind = names.text(arguments[1]) if len(arguments) > 1 else ""
        if kind in KINDS:
            return KINDS[kind], _known(names.text(arguments[0]))
    elif function in NAMING and (node.args or "name" in keywords):
        name = names.text(node.args[0] if node.args else keywords["name"])
        namespace, separator, _ = name.partition("::")
        if separator and "(" not in namespace:  # else a schema, whose type of an argument has "::" in it
            return "defines", _known(namespace)
        if UNKNOWN in name and function != "define":  # which many other classes have as a method
            return "defines", UNKNOWN
    elif function == VLLM_HELPER:
        is_own = VLLM_HELPER_LIBRARY not in keywords and len(node.args) <= VLLM_HELPER_MAX_BEFORE
        return "defines", "vllm" if is_own else None
    elif function == "getattr" and len(node.args) > 1 and _is_torch_ops(node.args[0]):
        namespace = _known(names.text(node.args[1]))
        return "calls", None if namespace == UNKNOWN else namespace
    return "defines", None


def _known(namespace: str) -> str:
    return UNKNOWN if UNKNOWN in namespace else namespace


class _Names:
    """The names of a module: what was imported as what, and which are always one and the same text."""

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, str] = {}
        values: dict[str, list[str]] = defaultdict(list)
        assigned: dict[ast.expr, str] = {}
        for node in ast.walk(tree):  # an assignment comes before its names
            if isinstance(node, ast.ImportFrom):
                self._imported |= {name.asname or name.name: name.name for name in node.names}
            elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                value = node.value.value
                assigned |= dict.fromkeys(targets, value if isinstance(value, str) else UNKNOWN)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                values[node.id].append(assigned.get(node, UNKNOWN))
            elif isinstance(node, ast.arg):
                values[node.arg].append(UNKNOWN)
        self._texts = {name: found[0] for name, found in values.items() if len(set(found)) == 1}

    def of_function(self, function: ast.expr) -> str:
        """Return the name of a function that is called, without what it is an attribute of."""
        if isinstance(function, ast.Attribute):
            return function.attr
        return self._imported.get(function.id, function.id) if isinstance(function, ast.Name) else ""

    def text(self, node: ast.expr) -> str:
        """Return the text that an expression makes, with UNKNOWN for each part that is not known."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            return self._texts.get(node.id, UNKNOWN)
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self.text, node.values))
        if isinstance(node, ast.FormattedValue):
            return self.text(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.text(node.left) + self.text(node.right)
        return UNKNOWN


def _is_torch_ops(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.ops"


# C++, as source.

SOURCES: Final = (".c", ".cc", ".cpp", ".cu", ".cuh", ".cxx", ".h", ".hip", ".hpp", ".inl")
# Matches what is no code: comments, and the definitions of macros over all of their lines.
NO_CODE: Final = re.compile(
    r"//[^\n]*|/\*.*?\*/|^[ \t]*#[ \t]*define\b(?:\\\n|[^\n])*", re.DOTALL | re.MULTILINE
)
# PyTorch 2.0-2.15: the macros of torch/library.h; STABLE_TORCH_LIBRARY (torch/csrc/stable/library.h) and
# TORCH_LIBRARY_EXPAND, which is vLLM's own, take the same arguments; if missing: no source has them.
MACRO: Final = re.compile(r"\b(?:STABLE_)?TORCH_LIBRARY(_FRAGMENT|_IMPL)?(?:_EXPAND)?\s*\((?:\s*(\w+)\s*,)?")
# Stands for the namespace where an option of the compiler sets it, or a Python program that puts sources together.
SET_LATER: Final = ("TORCH_EXTENSION_NAME", None)


def read_cpp(source: str) -> Reading:
    """Read a source of C++ or CUDA."""
    if "TORCH_LIBRARY" not in source:
        return NOTHING
    found: set[tuple[How, str]] = set()
    hidden = []
    for macro in MACRO.finditer(NO_CODE.sub(" ", source)):
        kind, namespace = macro.groups()
        how: How = "implements" if kind == "_IMPL" else "defines"
        if namespace not in (*SET_LATER, "_"):  # "_" stands for every namespace
            found.add((how, namespace))
        elif how == "defines":
            hidden.append(macro[0])
    return Reading(frozenset(found), tuple(hidden))


# Compiled files.

# PyTorch 2.0-2.15: the macros make two functions that are named after the namespace; their names are symbols
# of the compiled file unless it was stripped.  If missing: the file hides its namespaces, as a stripped one does.
INIT_FUNCTION: Final = re.compile(
    rb"(?:STABLE_)?TORCH_LIBRARY_"
    rb"(?:(?:static_)?init_(?P<whole>\w+)"
    rb"|FRAGMENT_(?:static_)?init_(?P<part>\w+)_\d+"
    rb"|IMPL_(?:static_)?init_(?P<implemented>\w+)_[A-Za-z0-9]+_\d+)"
)
# PyTorch 2.0-2.15: what a file that registers ops imports of PyTorch: the constructor of torch::Library or, from
# 2.9 on, functions of the stable interface; and the class c10::RegisterOperators, which was there before the macros.
# If missing: a stripped file counts as one that registers nothing.
REGISTERING: Final = (
    b"_ZN5torch7LibraryC1E",
    b"_ZN5torch7LibraryC2E",
    b"aoti_torch_library_init_",
    b"_ZN3c1017RegisterOperators",
)


def read_compiled(content: bytes) -> Reading:
    """Read a compiled file by the names of its symbols."""
    found: set[tuple[How, str]] = set()
    for name in _init_functions(content):
        function = INIT_FUNCTION.fullmatch(name)
        if function is None:
            continue
        implemented = function["implemented"]
        namespace = (implemented or function["whole"] or function["part"]).decode()
        if namespace != "_":
            found.add(("implements" if implemented else "defines", namespace))
    hidden = [symbol.decode() for symbol in REGISTERING if symbol in content]
    return Reading(frozenset(found), () if found else tuple(hidden[:1]))


def _init_functions(content: bytes) -> Iterator[bytes]:
    """Yield what may be the name of a function that a macro of PyTorch made."""
    marker, at = b"TORCH_LIBRARY_", 0
    while (at := content.find(marker, at)) >= 0:
        start = at - len(b"STABLE_") if content.endswith(b"STABLE_", 0, at) else at
        rest = content[start : start + 1000]
        # The Itanium ABI, which GCC and Clang follow: in a mangled name the length stands before the name.
        length = re.search(rb"\d+$", content[max(start - 4, 0) : start])
        whole = re.match(rb"\w+", rest)
        if whole is not None:
            yield rest[: int(length[0])] if length else whole[0]
        at += len(marker)


# Wheels.

# The tests of PyTorch, whose namespaces somebody else's ops may have as well, such as `testlib`.
NOT_READ: Final = "torch/testing/"


def read(path: Path) -> Found:
    """Read a wheel, or a folder where a package is installed."""
    files: dict[How, dict[str, set[str]]] = {how: defaultdict(set) for how in HOWS}
    hidden: list[tuple[str, str]] = []
    for name, content in _contents(path):
        reading = _read_file(name, content)
        for how, namespace in reading.found:
            files[how][namespace].add(name)
        hidden += [(name, what) for what in reading.hidden]
    sorted_files = {
        how: {namespace: sorted(names) for namespace, names in sorted(of.items())}
        for how, of in files.items()
    }
    return Found(path.name, _sha256(path) if path.is_file() else "", sorted_files, tuple(sorted(hidden)))


def _read_file(name: str, content: bytes) -> Reading:
    suffixes = PurePosixPath(name).suffixes or [""]
    if name.startswith(NOT_READ):
        return NOTHING
    if suffixes[-1] == ".py":
        try:
            return read_python(content.decode(errors="replace"))
        except (SyntaxError, ValueError) as error:
            # A template, or a module for a newer Python than this one.
            return Reading(frozenset(), (f"{type(error).__name__}: {error}",))
    if suffixes[-1] in SOURCES:
        return read_cpp(content.decode(errors="replace"))
    return read_compiled(content) if ".so" in suffixes else NOTHING


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file.relative_to(path.parent).as_posix(), file.read_bytes()
    else:
        with zipfile.ZipFile(path) as wheel:
            for name in sorted(wheel.namelist()):
                yield name, wheel.read(name)


def _sha256(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def wheel_of(what: str) -> Iterator[Path]:
    """Yield a path that exists, or the wheel of a requirement, which is deleted at the end of the block.

    Raises:
        FileNotFoundError: There is no such path, and pip downloads no wheel for that requirement.
    """
    if Path(what).exists():
        yield Path(what)
        return
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-") as folder:
        options = ("--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", folder)
        subprocess.run([sys.executable, "-m", "pip", "download", *options, what], check=False)
        wheels = [*Path(folder).glob("*.whl")]
        if not wheels:
            raise FileNotFoundError(f"{what}: no such file or folder, and pip has downloaded no such wheel")
        yield wheels[0]


# What is said of them.


def text_of(found: Found) -> str:
    """Return for each namespace which files do what with its ops, and what is hidden."""
    lines = [found.name]
    for namespace in sorted({name for of in found.files.values() for name in of}):
        lines.append(f"  {namespace}")
        lines += [
            f"    {how:<10}  {_named(found.files[how][namespace])}"
            for how in HOWS
            if namespace in found.files[how]
        ]
    if found.hidden:
        lines += ["  not known", *(f"    {file}: {what}" for file, what in found.hidden)]
    return "\n".join(lines)


def _named(files: list[str]) -> str:
    more = len(files) - MAX_NAMED
    return ", ".join(files[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


# PyTorch 2.0-2.15: functions whose callers name the namespace, and the ops of PyTorch's own `_native`; if
# missing: nothing changes.
NAMED_BY_CALLERS: Final = (
    "torch/_custom_op/",
    "torch/_library/",
    "torch/_native/",
    "torch/_vendor/quack/dsl/",
    "torch/library.py",
)


def problems(found: Found) -> list[str]:
    """Return what the table lacks of the namespaces that a wheel defines ops in, and what cannot be told."""
    is_torch = found.name == "torch" or found.name.startswith("torch-")
    known = PYTORCH if is_torch else PYTORCH | VLLM.keys()
    lacking = [
        f"compat/namespaces.py lacks {namespace!r}, which {found.name} defines ops in: {_named(files)}"
        for namespace, files in found.files["defines"].items()
        if namespace not in known
    ]
    hiding = [
        f"{file} of {found.name} hides in which namespace it registers ops: {what}"
        for file, what in found.hidden
        if not file.startswith(NAMED_BY_CALLERS)
    ]
    return lacking + hiding


def recorded(found: Found) -> dict[str, Any]:
    """Return what a record of a wheel has: where it defines ops, and which other namespaces it touches."""
    return {
        "wheel": found.name,
        "sha256": found.sha256,
        "defines": {namespace: _named(files) for namespace, files in found.files["defines"].items()},
        "implements": list(found.files["implements"]),
        "calls": list(found.files["calls"]),
        "hidden": [f"{file}: {what}" for file, what in found.hidden],
    }


def record(file: Path, found: Found) -> None:
    """Put the record of a wheel into a file, in the place of an earlier one of the same wheel."""
    old = json.loads(file.read_text()) if file.exists() else []
    by_wheel = {entry["wheel"]: entry for entry in [*old, recorded(found)]}
    entries = [by_wheel[name] for name in sorted(by_wheel, key=lambda name: parse_wheel_filename(name)[:2])]
    file.write_text(json.dumps(entries, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Read and print; return 1 where ``--check`` finds a problem, 2 where there is nothing to read."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="a wheel, a folder or a requirement")
    parser.add_argument("--check", action="store_true", help="fail where compat/namespaces.py lacks one")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what was read into this file")
    options = parser.parse_args(arguments)
    failed = False
    for what in options.wheels:
        try:
            with wheel_of(what) as path:
                found = read(path)
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 2
        print(text_of(found), flush=True)
        if options.record:
            if not found.sha256:
                parser.error(f"{what} is a folder, and only wheels can be recorded")
            record(options.record, found)
        if options.check:
            lacking = problems(found)
            failed |= bool(lacking)
            print("\n".join(lacking or [f"compat/namespaces.py has all that {found.name} defines ops in"]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
