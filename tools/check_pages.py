"""Checks that each page that is made from data is the one that its data make.

``python tools/check_pages.py`` fails where one is not, and names the program that writes it.  It needs nothing
but the standard library and ``packaging``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def main() -> int:
    """Have every program compare; return 1 where a page differs."""
    status = 0
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
