"""A logging handler or a filter that raises breaks nothing of what is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lowering_hooks.settings import read
from lowering_hooks.telling import tell, tell_later, tell_the_rest

LOGGER = logging.getLogger("lowering_hooks")


class Raising(logging.Handler):
    """A handler, and a filter, that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the handler")

    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("the filter")


@pytest.fixture(params=["handler", "filter"])
def raising(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the logger of the package raise for each message."""
    raising = Raising()
    put, take = {
        "handler": (LOGGER.addHandler, LOGGER.removeHandler),
        "filter": (LOGGER.addFilter, LOGGER.removeFilter),
    }[request.param]
    put(raising)
    yield
    take(raising)


def test_what_raises(raising: None) -> None:
    """It raises for others, and not for what this package tells."""
    with pytest.raises(RuntimeError):
        LOGGER.warning("of others")
    tell(logging.WARNING, "of %s", "ours")


def test_a_bad_setting(raising: None) -> None:
    """It is read as ever."""
    assert read({"LOWERING_HOOKS_DETAIL": "everything"}).detail == "args"


def test_what_is_told_later(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged in order, once, when nothing is being written any more."""
    tell_the_rest()  # of other tests
    caplog.set_level(logging.INFO, "lowering_hooks")
    for number in (1, 2):
        tell_later(logging.INFO, "cut %s", number)
    assert caplog.messages == []
    tell_the_rest()
    tell_the_rest()
    assert caplog.messages == ["cut 1", "cut 2"]


def test_what_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The record names the function that tells, and has the traceback where one is asked for."""
    caplog.set_level(logging.DEBUG, "lowering_hooks")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        tell(logging.DEBUG, "could not %s", "divide", exc_info=True)
    (record,) = caplog.records
    assert (record.getMessage(), record.funcName) == ("could not divide", "test_what_is_told")
    assert "ZeroDivisionError" in caplog.text
