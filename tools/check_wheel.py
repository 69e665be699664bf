"""Checks that a wheel holds the package with compat and py.typed, its metadata, and nothing else.

``python tools/check_wheel.py WHEEL`` fails where it does not.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(wheel: str) -> None:
    found = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lowering_hooks").rglob("*.py")}
    expected |= {f"lowering_hooks/compat/{path.name}" for path in (ROOT / "compat").glob("*.py")}
    expected |= {"lowering_hooks/py.typed", "_lowering_hooks_autoload.py"}
    metadata = {name for name in found if name.split("/")[0].endswith(".dist-info")}
    missing, more = expected - found, found - expected - metadata
    if missing or more or not metadata:
        sys.exit(f"{wheel}: missing {sorted(missing)}, more {sorted(more)}, metadata {sorted(metadata)}")
    text = zipfile.ZipFile(wheel).read(next(n for n in metadata if n.endswith("/METADATA"))).decode()
    needs = {line.split(":")[1].strip() for line in text.splitlines() if line.startswith("Requires-Dist:")}
    needs = {need for need in needs if "extra" not in need}
    if needs != {"torch>=2.0", "packaging"}:
        sys.exit(f"{wheel}: requires {sorted(needs)}")
    print(f"{Path(wheel).name}: {len(expected)} files and the metadata, nothing else")


if __name__ == "__main__":
    main(sys.argv[1])
