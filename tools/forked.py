"""The end of a process that was forked to do one thing."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator


@contextlib.contextmanager
def last_of_process() -> Iterator[None]:
    """End this process with the block, and run nothing of what the process that it was forked from left to do.

    The exit status is 0; that of :func:`sys.exit`, where the block called it with a number; and 1, with a traceback,
    where anything else was raised.
    """
    status = 1
    try:
        yield
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
