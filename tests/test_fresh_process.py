"""A test runs in a process of its own as it would in this one."""

from __future__ import annotations

import os
import sys
import time

import pytest

HERE = os.getpid()


class Pair:
    """An argument that only this module can unpickle."""

    def __init__(self, *of: object) -> None:
        self.of = of


@pytest.mark.fresh_process
def test_a_process_of_its_own() -> None:
    """Nothing is imported there but pytest, and this module anew."""
    assert os.getpid() == HERE
    assert not {"torch", "lowering_hooks", "conftest"} & set(sys.modules)


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception)
@pytest.mark.fresh_process
def test_a_failing_body_fails_the_test() -> None:
    """In the process of pytest this one would pass."""
    assert "conftest" in sys.modules


@pytest.mark.fresh_process(LOWERING_HOOKS="0", HERE="{number}-{tmp_path}")
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("pair", [Pair("a", 1)])
def test_variables_and_arguments(number, pair, tmp_path) -> None:
    """The marker's keywords are variables; parameters and fixtures arrive, classes of this module included."""
    assert os.environ["LOWERING_HOOKS"] == "0"
    assert os.environ["HERE"] == f"{number}-{tmp_path}"
    assert number in (1, 2)
    assert type(pair) is Pair
    assert pair.of == ("a", 1)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("all"),
        pytest.param("one", marks=pytest.mark.fresh_process(WHOSE="one")),
    ],
)
@pytest.mark.fresh_process(WHOSE="all", OTHER="kept")
def test_the_mark_of_a_parameter(value) -> None:
    """A parameter may bring variables of its own, which go above those of the function."""
    assert os.environ["OTHER"] == "kept"
    assert os.environ["WHOSE"] == value


@pytest.mark.fresh_process
def test_raises_inside() -> None:
    """pytest.raises works there."""
    with pytest.raises(ZeroDivisionError, match="zero"):
        1 / 0  # noqa: B018


def compares_words(word: str) -> None:
    print("printed before")
    print("complained before", file=sys.stderr)
    assert word.upper() == "OTHER"


def test_the_message_of_a_failure(run) -> None:
    """It has pytest's words, the file and the line, and what the process printed."""
    with pytest.raises(pytest.fail.Exception) as raised:
        run(compares_words, "word")
    line = compares_words.__code__.co_firstlineno + 3
    message = str(raised.value)
    assert message.startswith(f"test_fresh_process.py:{line}: AssertionError: assert 'WORD' == 'OTHER'\n")
    assert "where 'WORD' = " in message
    assert f'test_fresh_process.py", line {line}, in compares_words' in message
    assert "in _do" not in message
    assert "--- stdout of the process ---\nprinted before" in message
    assert "--- stderr of the process ---\ncomplained before" in message


def test_what_was_printed(run) -> None:
    """A function that passes returns what its process printed."""
    done = run(prints_at_exit, "first", SECOND="second")
    assert (done.stdout, done.stderr) == ("first\nsecond\n", "")


def prints_at_exit(first: str) -> None:
    import atexit

    print(first)
    atexit.register(lambda: print(os.environ["SECOND"]))


def skips() -> None:
    pytest.skip("not today")


def test_a_skip_is_a_skip(run) -> None:
    """With its reason."""
    with pytest.raises(pytest.skip.Exception, match="not today"):
        run(skips)


def hangs() -> None:
    time.sleep(600)


def test_a_hang_ends(run) -> None:
    """The message says where it was."""
    with pytest.raises(pytest.fail.Exception, match="hangs did not return") as raised:
        run(hangs, deadline=0.5)
    assert f"line {hangs.__code__.co_firstlineno + 1} in hangs" in str(raised.value)


def dies(status: int) -> None:
    os._exit(status)


@pytest.mark.parametrize("status", [0, 3])
def test_a_death_is_a_failure(run, status) -> None:
    """Also one that says that all is well."""
    with pytest.raises(pytest.fail.Exception, match="dies did not return"):
        run(dies, status)


def dies_at_its_end() -> None:
    import atexit

    atexit.register(os._exit, 3)


def test_a_bad_end_is_a_failure(run) -> None:
    """A body that passed does not hide it."""
    with pytest.raises(pytest.fail.Exception, match="ended with exit status 3"):
        run(dies_at_its_end)


def forks() -> None:
    if os.fork() == 0:
        raise SystemExit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7


def test_a_fork_is_not_the_test(run) -> None:
    """What a forked process raises is its own business."""
    run(forks)
