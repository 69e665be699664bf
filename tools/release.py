"""Builds what a release uploads, says whether the checkout may be released, and uploads nothing.

``python tools/release.py build FOLDER [TAG]`` builds the source distribution and the wheel of the last commit
into ``FOLDER``, twice, and fails where the two differ in a byte, where the source distribution is not the
repository, or where the version, ``CHANGELOG.md`` and the checkout do not agree.  With ``TAG`` the release must
be ready: that tag is on the last commit, and the changelog has the day.  ``python tools/release.py show FOLDER``
prints the files with their hashes.  It needs git, and the packages of the dependency group ``release``.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from datetime import date
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
GIT = shutil.which("git") or "git"

# Tells the files that a build adds to those of the repository.
GENERATED = re.compile(r"PKG-INFO|setup\.cfg|lowering_hooks\.egg-info/.*")
# Finds where a link or a picture of Markdown or HTML leads.
TARGET = re.compile(
    r"""\]\(\s*<?([^)\s>]+)            # [text](target), ![text](target)
    |^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)  # [name]: target
    |(?:href|src)\s*=\s*["']?([^"'\s>]+)  # <a href="target">, <img src="target">""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


class Checkout(NamedTuple):
    """What decides whether a checkout may be released.

    Attributes:
        version: The version that the package states.
        changelog: The text of ``CHANGELOG.md``.
        changes: What ``git status --porcelain`` prints: a line for each file that is not as committed.
        tags: The tags on the last commit.
    """

    version: str
    changelog: str
    changes: str
    tags: tuple[str, ...]


def version_of(source: str) -> str:
    """Return the version that ``source``, the text of ``lowering_hooks/__init__.py``, states."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__version__":
            return str(ast.literal_eval(statement.value))
    raise ValueError("lowering_hooks/__init__.py states no __version__")


def problems(checkout: Checkout, tag: str | None) -> list[str]:
    """Return why ``checkout`` must not be released, a sentence each.

    Without a ``tag`` this is a rehearsal: the changelog may still say "(unreleased)", and any tags will do.
    """
    found = []
    if checkout.changes:
        found.append(f"The checkout has changes that are not committed:\n{checkout.changes.rstrip()}")
    heading = re.search(r"^## (.+)$", checkout.changelog, re.MULTILINE)
    entry = re.fullmatch(r"(\S+) \((.+)\)", heading[1]) if heading else None
    if entry is None or entry[1] != checkout.version:
        told = f"'{heading[0]}'" if heading else "nothing"
        found.append(f"CHANGELOG.md begins with {told}, and the package states version {checkout.version}.")
    elif not (_is_day(entry[2]) or (tag is None and entry[2] == "unreleased")):
        found.append(
            f"CHANGELOG.md has '{entry[2]}' for {checkout.version}, where the day belongs (2026-01-31)."
        )
    if tag is not None:
        if tag != f"v{checkout.version}":
            found.append(f"The tag is {tag}, and that of version {checkout.version} is v{checkout.version}.")
        if tag not in checkout.tags:
            found.append(f"The last commit does not bear the tag {tag}.")
    return found


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def differences(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Compare the files of a source distribution with those of the repository.

    Args:
        names: The files of the source distribution, below its one folder.
        tracked: The files of the repository.

    Returns:
        A sentence for each file that only one of them has, but for those that a build generates.
    """
    have, want = set(names), set(tracked)
    return [f"The source distribution lacks {name}." for name in sorted(want - have)] + [
        f"The source distribution has {name}, which the repository does not track."
        for name in sorted(have - want)
        if not GENERATED.fullmatch(name)
    ]


def relative_links(text: str) -> list[str]:
    """Return where the links and pictures of a page lead that lead nowhere on a package index."""
    targets = [next(filter(None, groups)) for groups in TARGET.findall(text)]
    return [target for target in targets if not target.startswith(("https://", "mailto:", "#"))]


def make_reproducible(archive: Path, epoch: int) -> None:
    """Write a ``.tar.gz`` again, without what depends on who made it, when and where.

    setuptools stores the owner and the times of the files that it found and made.  In the new archive the
    files are in the order of their names, belong to nobody, were changed at ``epoch``, and may be read by
    everybody.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.linkname, plain.size = member.type, member.linkname, member.size
            plain.mtime = epoch
            plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(plain, old.extractfile(member) if member.isfile() else None)
    with archive.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as compressed:
        compressed.write(packed.getvalue())


def git(*arguments: str) -> bytes:
    """Return what a command of git prints in the checkout."""
    return subprocess.run([GIT, *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


def read_checkout() -> Checkout:
    """Return what the checkout has now."""
    return Checkout(
        version=version_of((ROOT / "lowering_hooks" / "__init__.py").read_text()),
        changelog=(ROOT / "CHANGELOG.md").read_text(),
        changes=git("status", "--porcelain").decode(),
        tags=tuple(git("tag", "--points-at", "HEAD").decode().split()),
    )


def export(folder: Path) -> list[str]:
    """Write the files of the last commit into ``folder``, and return their names."""
    # Without this setting git makes the files writable for their group.
    packed = git("-c", "tar.umask=0022", "archive", "--format=tar", "HEAD")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
        return [member.name for member in archive if not member.isdir()]


def build_once(folder: Path, seed: str) -> tuple[Path, Path]:
    """Build the last commit in ``folder``.

    Returns:
        The source distribution, and the wheel that is built from it.

    Raises:
        SystemExit: The source distribution does not have exactly the files of the repository.
    """
    source, dist, unpacked = folder / "source", folder / "dist", folder / "unpacked"
    tracked = export(source)
    epoch = int(git("log", "-1", "--format=%ct"))
    # Another seed, as another process has, orders sets otherwise.
    variables = os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": seed}

    def run_build(what: str, where: Path) -> None:
        command = [sys.executable, "-m", "build", what, "--no-isolation", "--outdir", str(dist), str(where)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")

    run_build("--sdist", source)
    (sdist,) = dist.glob("*.tar.gz")
    make_reproducible(sdist, epoch)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (top,) = unpacked.iterdir()
    files = [path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir()]
    if found := differences(files, tracked):
        sys.exit("\n".join(found))
    run_build("--wheel", top)
    (wheel,) = dist.glob("*.whl")
    return sdist, wheel


def description_of(wheel: Path) -> str:
    """Return the long description in the metadata of ``wheel``, which a package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return str(BytesParser().parsebytes(archive.read(name)).get_payload())


def build(folder: Path, tag: str | None) -> None:
    """Build what a release uploads into ``folder``, which is emptied.

    Raises:
        SystemExit: The checkout must not be released, or what is built is not as it should be.
    """
    if found := problems(read_checkout(), tag):
        sys.exit("\n".join(found))
    # A wheel has the modes of the files that the build makes.
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-") as first:
        with tempfile.TemporaryDirectory(prefix="again-") as second:
            built = build_once(Path(first), "1")
            for one, other in zip(built, build_once(Path(second), "2"), strict=True):
                if one.name != other.name or one.read_bytes() != other.read_bytes():
                    sys.exit(f"Two builds of {one.name} differ.")
        if links := relative_links(description_of(built[1])):
            sys.exit(f"The long description has links that lead nowhere on a package index: {links}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in built:
            shutil.copy(file, folder)
    print(f"Built twice, with the same bytes: {', '.join(file.name for file in built)}")


def show(folder: Path) -> None:
    """Print what would be uploaded, with sizes and hashes."""
    print("Nothing has been uploaded.  These files would be:")
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        print(f"{hashlib.sha256(content).hexdigest()}  {file.name}  ({len(content):,} bytes)")


def main(arguments: list[str]) -> int:
    """Run one of the commands; return 2 where the arguments are wrong."""
    if len(arguments) in (2, 3) and arguments[0] == "build":
        build(Path(arguments[1]), arguments[2] if len(arguments) > 2 else None)
    elif len(arguments) == 2 and arguments[0] == "show":
        show(Path(arguments[1]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
