"""Tells whether the table of compat/releases.py has a PyTorch release, and tries a row for one that it lacks.

``python tools/new_release.py VERSION`` says what the table has for that release, and which row to add where
it has none.  ``python tools/new_release.py VERSION FOLDER`` then also copies the checkout to ``FOLDER``, with
that row in the copy's table.  The folder must not exist, and may lie in the checkout only where git ignores it.
It needs nothing but the standard library and ``packaging``.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
# compat stands at the top of the checkout.
sys.path.insert(0, str(ROOT))

from compat import RELEASES, Release, release_of

TABLE = Path("compat", "releases.py")
HEAD = "RELEASES: Final[tuple[Release, ...]] = ("


class Answer(NamedTuple):
    """What the table has for a release.

    Attributes:
        known: Whether the table has this release, or a later one of its series.
        row: The row that the table has; where the release is not known, the row to add or to replace.
        text: One sentence that says so.
    """

    known: bool
    row: Release
    text: str


def look_up(version: str) -> Answer:
    """Return what the table has for the PyTorch release ``version``, such as ``"2.12.1+cu130"``.

    A pre-release comes before its release, so that a nightly build of a series in the table is known, too.

    Raises:
        InvalidVersion: ``packaging.version`` cannot read ``version``.
    """
    public = Version(Version(version).public)
    row = release_of(version)
    if row is None:
        row = row_for(version)
        newest, oldest = RELEASES[0].series, RELEASES[-1].series
        return Answer(
            known=False,
            row=row,
            text=f"PyTorch {version} is of series {row.series}, and the table has {oldest} to {newest}",
        )
    verified = Version(row.verified_with)
    if public > verified:
        text = f"PyTorch {version} is newer than {verified}, which the table has for series {row.series}"
        return Answer(known=False, row=row_for(version), text=text)
    if public == verified:
        return Answer(known=True, row=row, text=f"PyTorch {version} is in the table: {row_source(row)}")
    text = f"PyTorch {version} is older than {verified}, which the table has: {row_source(row)}"
    return Answer(known=True, row=row, text=text)


def row_for(version: str) -> Release:
    """Return a row for a release that the table lacks.

    It names the Python that runs this function.  All else is as in the row of the same series, or as in the
    newest row where the table has no such series.
    """
    parsed = Version(version)
    model = release_of(version) or RELEASES[0]
    return model._replace(
        series=f"{parsed.major}.{parsed.minor}",
        verified_with=parsed.base_version,
        pythons=(f"{sys.version_info.major}.{sys.version_info.minor}",),
    )


def row_source(row: Release) -> str:
    """Write ``row`` as it stands in the table."""
    fields = (
        f"({', '.join(map(json.dumps, field))},)" if isinstance(field, tuple) else json.dumps(field)
        for field in row
    )
    return f"Release({', '.join(fields)}),"


def copy_checkout(folder: Path, row: Release) -> None:
    """Copy the checkout to ``folder``, without what git ignores, and put ``row`` into the copy's table.

    The row replaces the one of the same series, or comes first where there is none.

    Raises:
        FileExistsError: ``folder`` exists.
    """
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(".git", *ignored))
    table = folder / TABLE
    lines = table.read_text().splitlines()
    of_series = [at for at, line in enumerate(lines) if line.startswith(f'    Release("{row.series}",')]
    at = of_series[0] if of_series else lines.index(HEAD) + 1
    lines[at : at + len(of_series)] = [f"    {row_source(row)}"]
    table.write_text("\n".join(lines) + "\n")


def main(arguments: list[str]) -> int:
    """Answer for a version, and make a copy where a folder follows; return 2 where the arguments are wrong."""
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        answer = look_up(arguments[0])
    except InvalidVersion as error:
        print(error, file=sys.stderr)
        return 2
    print(answer.text if answer.known else f"{answer.text}.  Its row:\n    {row_source(answer.row)}")
    for folder in map(Path, arguments[1:]):
        copy_checkout(folder, answer.row)
        print(f"{folder} is a copy of the checkout whose table has this row")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
