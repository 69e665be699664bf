"""Which namespaces are allowed."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

import lowering_hooks
from lowering_hooks.namespaces import Namespaces


def test_vllm_is_allowed_by_default() -> None:
    """The namespaces of vLLM are allowed by default, and no others."""
    assert lowering_hooks.allowed_namespaces() == {"vllm", "vllm_aiter"}


def test_allow_and_disallow() -> None:
    """Both functions return what is allowed after the call."""
    assert lowering_hooks.allow("mylib", "other") == {"vllm", "vllm_aiter", "mylib", "other"}
    assert lowering_hooks.disallow("vllm", "never_allowed") == {"vllm_aiter", "mylib", "other"}
    assert lowering_hooks.allowed_namespaces() == {"vllm_aiter", "mylib", "other"}
    assert lowering_hooks.allow() == {"vllm_aiter", "mylib", "other"}


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "a\n", "vllm::moe", "vllm:", "a,b", "vllm*", "**", None, 3, b"vllm", ["vllm"]]
)
@pytest.mark.parametrize("function", [lowering_hooks.allow, lowering_hooks.disallow])
def test_a_bad_name(function, bad) -> None:
    """The error names a bad name, and the call changes nothing."""
    before = lowering_hooks.allowed_namespaces()
    with pytest.raises(ValueError, match="invalid namespace") as raised:
        function("good", bad)
    assert repr(bad) in str(raised.value)
    assert ": expected the part of an op's name before '::'" in str(raised.value)
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_checks_names_when_called() -> None:
    """A bad name is told where it stands, not where the block begins."""
    with pytest.raises(ValueError, match="invalid namespace 'a b'"):
        lowering_hooks.allowing("a b")


def test_allowing_may_be_entered_again() -> None:
    """One object opens any number of blocks, inside one another as well."""
    before, mine = lowering_hooks.allowed_namespaces(), lowering_hooks.allowing("mylib")
    for _ in range(2):
        with mine, mine:
            assert lowering_hooks.allowed_namespaces() == before | {"mylib"}
        assert lowering_hooks.allowed_namespaces() == before


def test_allowing_decorates_a_function() -> None:
    """The namespaces are allowed while the function runs, and its name and result are its own."""

    @lowering_hooks.allowing("mylib")
    def look(more: str) -> frozenset[str]:
        """Look."""
        with lowering_hooks.allowing(more):
            return lowering_hooks.allowed_namespaces()

    before = lowering_hooks.allowed_namespaces()
    assert look(more="other") == before | {"mylib", "other"}
    assert (look.__name__, look.__doc__) == ("look", "Look.")
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_decorates_a_coroutine() -> None:
    """The namespaces are allowed across its awaits."""

    @lowering_hooks.allowing("mylib")
    async def look(one: str, *, two: str) -> tuple[str, str, bool]:
        """Look."""
        await asyncio.sleep(0)
        return one, two, "mylib" in lowering_hooks.allowed_namespaces()

    assert asyncio.iscoroutinefunction(look)
    assert (look.__name__, look.__doc__) == ("look", "Look.")
    assert asyncio.run(look("one", two="two")) == ("one", "two", True)
    assert "mylib" not in lowering_hooks.allowed_namespaces()


def test_allowing_decorates_an_object_that_is_called() -> None:
    """It need not be a function."""

    class Look:
        def __call__(self, one: str, *, two: str) -> tuple[str, str, bool]:
            return one, two, "mylib" in lowering_hooks.allowed_namespaces()

    assert lowering_hooks.allowing("mylib")(Look())("one", two="two") == ("one", "two", True)


def test_allowing_refuses_what_yields() -> None:
    """The body of a generator function runs after the block has ended."""

    def numbers():
        yield 1

    async def slow_numbers():
        yield 1

    for function in (numbers, slow_numbers, "no function"):
        with pytest.raises(TypeError, match="allowing\\(\\) cannot decorate") as raised:
            lowering_hooks.allowing("mylib")(function)  # type: ignore[arg-type]
        assert repr(function) in str(raised.value)


def test_dir_shows_what_is_public() -> None:
    """Completion offers the public names, each once, and nothing else but what every module has."""
    public = set(lowering_hooks.__all__)
    shown = [name for name in dir(lowering_hooks) if name in public or not name.startswith("__")]
    assert shown == sorted(public)


def test_allowing_ends_with_its_block() -> None:
    """The namespaces are allowed up to the end of the block."""
    before = lowering_hooks.allowed_namespaces()
    with lowering_hooks.allowing("outer") as allowed:
        assert allowed == before | {"outer"}
        with lowering_hooks.allowing("inner"):
            assert lowering_hooks.allowed_namespaces() == before | {"outer", "inner"}
        assert lowering_hooks.allowed_namespaces() == before | {"outer"}
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_and_an_error() -> None:
    """The namespaces are no longer allowed once the block has raised."""
    before = lowering_hooks.allowed_namespaces()
    with pytest.raises(KeyError), lowering_hooks.allowing("mylib"):
        raise KeyError
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_by_thread() -> None:
    """Only the thread of the block sees its namespaces."""
    seen: list[frozenset[str]] = []
    with lowering_hooks.allowing("mylib"):
        thread = threading.Thread(target=lambda: seen.append(lowering_hooks.allowed_namespaces()))
        thread.start()
        thread.join()
    assert "mylib" not in seen[0]


def test_allowing_by_task() -> None:
    """Only the task of the block sees its namespaces."""

    async def look(inside: asyncio.Event, done: asyncio.Event) -> bool:
        await inside.wait()
        seen = "mylib" in lowering_hooks.allowed_namespaces()
        done.set()
        return seen

    async def main() -> bool:
        inside, done = asyncio.Event(), asyncio.Event()
        other = asyncio.create_task(look(inside, done))
        with lowering_hooks.allowing("mylib"):
            inside.set()
            await done.wait()
        return await other

    assert asyncio.run(main()) is False


def test_a_block_that_ends_elsewhere() -> None:
    """A fixture that yields may be closed by a task that never entered its block: there is nothing to end."""
    block, before = lowering_hooks.allowing("mylib"), lowering_hooks.allowed_namespaces()
    contextvars.copy_context().run(block.__enter__)

    def end() -> frozenset[str]:
        block.__exit__(None, None, None)
        with lowering_hooks.allowing("other"):
            return lowering_hooks.allowed_namespaces()

    assert contextvars.copy_context().run(end) == before | {"other"}


def test_names_from_an_iterator() -> None:
    """They are looked at once."""
    namespaces = Namespaces(frozenset())
    assert namespaces.allow(iter(["one", "two"])) == {"one", "two"}


@pytest.mark.parametrize("name", ["mylib", "*"])
def test_what_is_allowed(name) -> None:
    """A namespace is allowed by its name or by "*", in the process or in a block."""
    namespaces = Namespaces(frozenset({"vllm"}))

    def look() -> list[bool]:
        return [namespaces.allows(known) for known in ("vllm", "mylib", "other")]

    assert look() == [True, False, False]
    with namespaces.allowing([name]):
        assert look() == [True, True, name == "*"]
        with namespaces.allowing(["another"]):
            assert look() == [True, True, name == "*"]
    assert look() == [True, False, False]
    namespaces.allow([name])
    assert look() == [True, True, name == "*"]
    namespaces.disallow([name])
    assert look() == [True, False, False]


def test_every_namespace_can_be_allowed() -> None:
    """The name "*" allows every namespace."""
    assert "*" in lowering_hooks.allow("*")
    assert "*" not in lowering_hooks.disallow("*")
