"""What follows from a request without a look at Inductor."""

from __future__ import annotations

import pytest

from lowering_hooks import asked
from lowering_hooks.asked import Asked, AskedStrategy, AskedTexts, differs, expected, plan
from lowering_hooks.compat import Choice, choose
from lowering_hooks.inductor.modules import Inductor
from lowering_hooks.status import Idle

VERIFIED, UNVERIFIED = choose("2.12.1"), choose("2.99.0")
INDUCTOR, ANOTHER = (Inductor(None, object(), None, None) for _ in range(2))
IDLE = Idle("inactive", "not applied")


@pytest.mark.parametrize("ask", [lambda: AskedStrategy("auto", IDLE), lambda: AskedTexts("auto")])
def test_a_request_that_needs_inductor(ask) -> None:
    """It is settled for one Inductor, and waits where none is loaded."""
    request = ask()
    assert request.needs_inductor is True
    settled = (request, INDUCTOR)
    assert differs(request, settled, INDUCTOR) is False
    assert differs(request, settled, ANOTHER) is True
    assert differs(request, settled, None) is False
    assert differs(ask(), settled, INDUCTOR) is True, "another request, although an equal one"
    assert differs(ask(), settled, None) is False


@pytest.mark.parametrize("ask", [lambda: AskedStrategy(None, IDLE), lambda: AskedTexts(mode=False)])
def test_a_request_that_needs_none(ask) -> None:
    """It is settled at once, whatever is loaded."""
    request = ask()
    assert request.needs_inductor is False
    for loaded in (None, INDUCTOR):
        assert differs(request, (request, None), loaded) is False
        assert differs(request, (ask(), None), loaded) is True


def test_what_was_asked_for_anew() -> None:
    """Another request for either part counts, although it is an equal one."""
    strategies = [AskedStrategy("auto", IDLE) for _ in range(2)]
    texts = [AskedTexts("auto") for _ in range(2)]
    pairs = [Asked(strategy, text) for strategy in strategies for text in texts]
    for one in pairs:
        assert [one.is_same_as(other) for other in pairs] == [one is other for other in pairs]
        assert one.is_same_as(Asked(one.strategy, one.texts))


@pytest.mark.parametrize(
    ("request_", "choice", "planned"),
    [
        ("auto", VERIFIED, (("call_function", "set_proxy"), VERIFIED.reason, "")),
        ("auto", UNVERIFIED, (("set_proxy",), UNVERIFIED.reason, UNVERIFIED.reason)),
        ("call_function", UNVERIFIED, (("call_function",), "strategy call_function was asked for", "")),
        ("set_proxy", VERIFIED, (("set_proxy",), "strategy set_proxy was asked for", "")),
    ],
)
def test_a_plan(request_, choice: Choice, planned) -> None:
    """A strategy that is named is tried alone; "auto" tries what the table says, then the set proxy."""
    assert plan(request_, choice) == planned


WAITING = "torch._inductor.graph is not imported yet"


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize(
    ("request_", "version", "says"),
    [
        ("auto", "2.12.1", ("pending", "call_function", f"{WAITING}; {VERIFIED.reason}")),
        ("set_proxy", "2.12.1", ("pending", "set_proxy", f"{WAITING}; strategy set_proxy was asked for")),
        ("auto", None, ("pending", "none", f"{WAITING}; the version of PyTorch will be known then")),
        ("set_proxy", None, ("pending", "set_proxy", f"{WAITING}; strategy set_proxy was asked for")),
    ],
)
def test_what_is_expected(monkeypatch, request_, version, says, is_there) -> None:
    """The strategy is told as far as it is known; a version that is known is that of a PyTorch that is there."""
    monkeypatch.setattr(asked, "torch_is_there", lambda: is_there)
    if version is None and not is_there:
        says = ("inactive", "none", "PyTorch is not installed here")
    assert expected(request_, version, VERIFIED) == says
