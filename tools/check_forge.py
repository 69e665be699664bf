"""Checks the files that the forge reads: workflows, issue forms and what configures them.

``python tools/check_forge.py`` fails where GitHub would not accept one, or zizmor finds a workflow unsafe.  It
needs the packages check-jsonschema, which brings the schemas, and zizmor; neither asks the network.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FORGE = ROOT / ".github"
FORMS = FORGE / "ISSUE_TEMPLATE"
# Lists the files under the schemas that they must keep, which check-jsonschema brings.
FILES = {
    "vendor.github-workflows": sorted(FORGE.glob("workflows/*.yml")),
    "vendor.github-issue-config": [FORMS / "config.yml"],
    "vendor.github-issue-forms": sorted(set(FORMS.glob("*.yml")) - {FORMS / "config.yml"}),
}


def main() -> int:
    """Run both programs on all files; return 1 where one of them finds something."""
    commands = [
        ["check-jsonschema", "--builtin-schema", schema, *map(str, files)] for schema, files in FILES.items()
    ]
    commands.append(["zizmor", "--offline", "--quiet", "--pedantic", "--strict-collection", str(FORGE)])
    failed = [command for command in commands if subprocess.run(command, check=False).returncode]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
