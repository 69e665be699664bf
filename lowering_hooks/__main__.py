"""``python -m lowering_hooks``: the command line, as the console script has it."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
