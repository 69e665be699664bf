"""Names the ways of compiling a graph, and says what must hold of many graphs.  Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from packaging.version import Version

from lowering_hooks.compat import RELEASES, release_of

# A run of `tools/make_random_graphs.py` compiles so many graphs, unless it is told otherwise.
GRAPHS: Final = 2000
# The ways that are made to differ have so many graphs to differ in, and stock is compiled again for one in so many.
GRAPHS_MADE_TO_DIFFER: Final = 50
STOCK_AGAIN: Final = 10


class Way(NamedTuple):
    """A way of compiling, beside stock.

    Attributes:
        mode: Its mode in ``downstream/compiling.py``.
        what: What it is, in words.
        which: Which graphs are compiled so, in words.
    """

    mode: str
    what: str
    which: str = "every graph"


# Maps the name of each way to what it is, in the order of the page; each is compared with "stock".
WAYS: Final[Mapping[str, Way]] = {
    "stock again": Way(
        "stock", "stock PyTorch once more", f"one graph in {STOCK_AGAIN}, and each in which something differs"
    ),
    "call_function": Way("call_function", "the strategy `call_function`, every namespace allowed"),
    "graph": Way(
        "graph",
        "the same with `LOWERING_HOOKS_DETAIL=graph`, and everything that Inductor logs at DEBUG formatted",
    ),
    "cut": Way(
        "nothing_allowed",
        "the same strategy, no namespace allowed, and every text cut after 300 characters; also at DEBUG",
    ),
    "set_proxy": Way("set_proxy", "the strategy `set_proxy`, every namespace allowed"),
    "plain": Way(
        "stock",
        "a set proxy that says yes and records no layout constraint, as others use it",
        f"the first {GRAPHS_MADE_TO_DIFFER} graphs",
    ),
    "meddling": Way(
        "stock",
        "stock, with a text that copies the arguments that it describes",
        f"the first {GRAPHS_MADE_TO_DIFFER} graphs",
    ),
}
# These are made to differ, to show that a difference is seen.
MADE_TO_DIFFER: Final = ("plain", "meddling")
# In these lowering-hooks is active, and nothing may differ.
HOOKED: Final = tuple(way for way in WAYS if way not in (*MADE_TO_DIFFER, "stock again"))


class Expected(NamedTuple):
    """What must hold of many graphs of a series, as shares of the graphs.

    Attributes:
        compiled: Stock compiles at least so many.
        handed: Kernels of custom ops are handed at least so many tensors.
        fallbacks: Each hooked way counts at least so many implicit fallbacks.
        equal: Of the graphs that are built and that stock compiles, at least so many are equal to eager in each hooked
            way. In the others stock is unequal, too: a gradient stands behind an op that has none, or Inductor leaves
            out a cast to float16 and back.
        unstable: Two compiles of stock may differ in so many, beside one: PyTorch warns of some ops once in a process,
            and the process that compiles as stock again meets such an op in another graph than stock's.
        made_to_differ: In each of these ways one graph at least must differ.
    """

    compiled: float
    handed: float
    fallbacks: float
    equal: float
    unstable: float
    made_to_differ: tuple[str, ...]


def expected(version: str) -> Expected:
    """Return what must hold on a release of PyTorch, or on the newest verified one where none is of its series.

    Args:
        version: The release, or its series.
    """
    row = release_of(version) or RELEASES[0]
    # PyTorch 2.0-2.2, 2.5: an op of the allow list has the constraint that it has without, so nothing can differ.
    can_plain_differ = row.layout_constraint != "none"
    return Expected(
        # PyTorch 2.0-2.4: most of the graphs are errors in stock: of tags, subgraphs and outputs that these lack.
        compiled=0.2 if Version(row.series) <= Version("2.4") else 0.5,
        handed=0.5,
        fallbacks=0.5,
        equal=0.5,
        unstable=0.02,
        made_to_differ=MADE_TO_DIFFER if can_plain_differ else ("meddling",),
    )
