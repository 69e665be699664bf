"""Checks that each page that is made from data is the one that its data make, and that what it claims holds.

``python tools/check_pages.py`` fails where one is not, and names the program that writes it.  It also fails where a
claim of a page does not hold, and where data name a folder of a machine.  It needs nothing but the standard library
and ``packaging``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from verdicts import FAILS

# Lists the programs that write the pages, with the arguments that have them compare instead.
WRITERS = (
    ("tools/make_compatibility.py", "--check"),
    ("tools/make_printed_ir.py", "--check"),
    ("tools/make_random_graphs.py", "--check"),
    ("tools/mutation.py", "--check"),
    ("downstream/vllm/verify.py", "--check"),
    ("downstream/models/verify.py", "--check"),
    ("downstream/pytorch/verify.py", "--check"),
    ("downstream/packages/verify.py", "--check"),
    ("tools/make_evidence.py", "--check"),
    ("benchmarks/draw.py", "--check", "benchmarks/results", "docs"),
)
# Matches the beginning of a path in the folders where clones and temporary files stand.
MACHINE_PATH = re.compile(r"/(?:tmp|root|home|Users|private|work|workspace|builds|mnt|opt|srv|var)/[^\s\"']*")


def machine_paths() -> Iterator[str]:
    """Yield a line for each file of data that holds a path of the machine that measured."""
    for folder in (ROOT / "docs", ROOT / "benchmarks"):
        for file in sorted(folder.rglob("*.json")):
            if path := MACHINE_PATH.search(file.read_text(encoding="utf-8")):
                yield f"{file.relative_to(ROOT)}: names a folder of the machine that measured: {path[0]}"


def failing_claims() -> Iterator[str]:
    """Yield a line for each claim of a page that does not hold."""
    for file in sorted((ROOT / "docs").glob("*.md")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if f"| {FAILS} |" in line:
                yield f"{file.relative_to(ROOT)}: a claim does not hold: {line}"


def main() -> int:
    """Have every program compare; return 1 where a page differs, a claim does not hold, or data name a folder."""
    status = 0
    for line in (*machine_paths(), *failing_claims()):
        print(line, file=sys.stderr)
        status = 1
    # Some import the package, which Python then finds in the checkout, without an install.
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    for writer in WRITERS:
        command = [sys.executable, *writer]
        if subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode:
            print(f"{' '.join(writer)}: failed", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
