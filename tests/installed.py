"""The PyTorch that the tests run on."""

from __future__ import annotations

import torch
from packaging.version import Version

from lowering_hooks.compat import RELEASES, release_of

# Such as (2, 9).
SERIES = Version(torch.__version__).release[:2]
# Its row of the table; of a series that is not in it yet, the newest one.
RELEASE = release_of(torch.__version__) or RELEASES[0]
# Whether stock keeps the strides of untagged ops, so that the demo's kernel reads what eager would give it.
DEMO_IS_EQUAL = SERIES >= (2, 8) or SERIES == (2, 6)
