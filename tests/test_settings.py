"""The environment variables: what they accept, and what becomes of a value that they do not."""

from __future__ import annotations

import pytest

from lowering_hooks.namespaces import DEFAULT
from lowering_hooks.settings import Settings, bounded_ir_mode, read, requested

# By variable: a value that it does not accept, and what the WARNING says of what it does.
BAD = {
    "LOWERING_HOOKS": ("maybe", "0, off, false, no"),
    "LOWERING_HOOKS_NAMESPACES": ("mylib,vllm::moe", "before '::'"),
    "LOWERING_HOOKS_STRATEGY": ("fast", "auto, call_function, set_proxy, none"),
    "LOWERING_HOOKS_DETAIL": ("everything", "args, graph, full"),
    "LOWERING_HOOKS_BOUNDED_IR": ("a bit", "1, on, true, yes, 0, off, false, no"),
}


@pytest.mark.parametrize("value", ["0", "off", "FALSE", "no", " Off "])
def test_switched_off(value) -> None:
    """The status shows the value as it was written."""
    assert read({"LOWERING_HOOKS": value}).off == value


@pytest.mark.parametrize("value", ["1", "on", "True", "yes", "", " "])
def test_not_switched_off(value) -> None:
    """Empty is as not set."""
    assert read({"LOWERING_HOOKS": value}) == Settings()


def test_bad_values(caplog) -> None:
    """One WARNING each names variable, value and what is accepted, and the defaults are used."""
    assert read({variable: value for variable, (value, _) in BAD.items()}) == Settings()
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == len(BAD)
    for variable, (value, accepted) in BAD.items():
        (message,) = [text for text in messages if f"{variable}=" in text]
        assert repr(value) in message
        assert accepted in message


def test_a_bad_namespace(caplog) -> None:
    """The WARNING names it among the others."""
    read({"LOWERING_HOOKS_NAMESPACES": "mylib, vllm::moe,other"})
    assert "and got 'vllm::moe'" in caplog.text


def test_good_values(caplog) -> None:
    """Whatever their case, and with blanks and empty parts in a list."""
    found = read(
        {
            "LOWERING_HOOKS": "on",
            "LOWERING_HOOKS_NAMESPACES": " mylib, other,",
            "LOWERING_HOOKS_STRATEGY": "SET_PROXY",
            "LOWERING_HOOKS_DETAIL": "full",
            "LOWERING_HOOKS_BOUNDED_IR": "No",
            "LOWERING_HOOKS_REPORT": "report.json",
        }
    )
    assert found == Settings(None, DEFAULT | {"mylib", "other"}, "set_proxy", "full", False, "report.json")
    assert read({"LOWERING_HOOKS_BOUNDED_IR": "1"}).bounded_ir is True
    assert caplog.records == []


@pytest.mark.parametrize("bad", ["fast", "", "AUTO", None, 3])
def test_a_bad_strategy(bad) -> None:
    """A bad argument raises, with the words of a bad variable."""
    with pytest.raises(ValueError, match="auto, call_function, set_proxy, none") as raised:
        requested(bad)
    assert repr(bad) in str(raised.value)


def test_ways_to_bound_texts() -> None:
    """A bool is what it is, and not 1 or 0."""
    assert [bounded_ir_mode(mode) for mode in ("auto", True, False)] == ["auto", True, False]
    with pytest.raises(TypeError):
        bounded_ir_mode(1)
