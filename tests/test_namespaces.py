"""Which namespaces are allowed."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lowering_hooks


def test_vllm_is_allowed_by_default() -> None:
    assert lowering_hooks.allowed_namespaces() == {"vllm", "vllm_aiter"}


def test_allow_and_disallow_return_what_is_allowed_now() -> None:
    assert lowering_hooks.allow("mylib", "other") == {"vllm", "vllm_aiter", "mylib", "other"}
    assert lowering_hooks.disallow("vllm", "never_allowed") == {"vllm_aiter", "mylib", "other"}
    assert lowering_hooks.allowed_namespaces() == {"vllm_aiter", "mylib", "other"}
    assert lowering_hooks.allow() == {"vllm_aiter", "mylib", "other"}


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "a\n", "vllm::moe", "vllm:", "a,b", "vllm*", "**", None, 3, b"vllm", ["vllm"]]
)
@pytest.mark.parametrize("function", [lowering_hooks.allow, lowering_hooks.disallow])
def test_a_bad_name_is_named_and_nothing_is_taken(function, bad) -> None:
    before = lowering_hooks.allowed_namespaces()
    with pytest.raises(ValueError, match="not a namespace") as raised:
        function("good", bad)
    assert repr(bad) in str(raised.value)
    assert "accepted: " in str(raised.value)
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_rejects_a_bad_name() -> None:
    with pytest.raises(ValueError, match="'a b'"), lowering_hooks.allowing("a b"):
        pass


def test_allowing_ends_with_its_block() -> None:
    before = lowering_hooks.allowed_namespaces()
    with lowering_hooks.allowing("outer") as allowed:
        assert allowed == before | {"outer"}
        with lowering_hooks.allowing("inner"):
            assert lowering_hooks.allowed_namespaces() == before | {"outer", "inner"}
        assert lowering_hooks.allowed_namespaces() == before | {"outer"}
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_ends_when_its_block_raises() -> None:
    before = lowering_hooks.allowed_namespaces()
    with pytest.raises(KeyError), lowering_hooks.allowing("mylib"):
        raise KeyError
    assert lowering_hooks.allowed_namespaces() == before


def test_allowing_is_seen_by_its_own_thread_only() -> None:
    seen: list[frozenset[str]] = []
    with lowering_hooks.allowing("mylib"):
        thread = threading.Thread(target=lambda: seen.append(lowering_hooks.allowed_namespaces()))
        thread.start()
        thread.join()
    assert "mylib" not in seen[0]


def test_allowing_is_seen_by_its_own_task_only() -> None:
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


def test_every_namespace_can_be_allowed() -> None:
    assert "*" in lowering_hooks.allow("*")
    assert "*" not in lowering_hooks.disallow("*")
