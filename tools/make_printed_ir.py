"""Writes ``docs/printed-ir.md``: where Inductor prints IR, and what becomes of it with lowering-hooks.

``python tools/make_printed_ir.py measure SERIES.json [MODEL ...]`` runs the models of ``printed_ir/models.py`` on
the PyTorch that runs it, each in a process that has compiled nothing before, and writes down how they came out;
with names, it runs only those anew.  It fails where a model does not end with lowering-hooks, or the code with every
text bounded is not that of stock.  ``python tools/make_printed_ir.py draw`` makes the page of all the JSON
files.  ``--check`` changes nothing, and fails where the page is not the one that the JSON files make; drawing and
checking need nothing but the standard library and ``packaging``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pages
from printed_ir.page import page, results
from printed_ir.runs import UnknownModelError, measure

DATA, PAGE = ROOT / "docs" / "printed-ir", ROOT / "docs" / "printed-ir.md"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["measure"] and len(arguments) > 1:
        try:
            broken = measure(Path(arguments[1]), arguments[2:])
        except UnknownModelError as unknown:
            print(unknown, file=sys.stderr)
            return 2
        print("\n".join(broken), file=sys.stderr)
        return 1 if broken else 0
    if arguments == ["draw"]:
        PAGE.write_text(page(results(DATA)))
        return 0
    if arguments == ["--check"]:
        return pages.check(PAGE, page(results(DATA)), "nox -s printed-ir")
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
