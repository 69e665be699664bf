"""The choice of a strategy, and the contract of the installed Inductor."""

from __future__ import annotations

import types

import pytest
import torch._inductor.graph
from packaging.version import Version

from lowering_hooks import compat

VERIFIED = [row.series for row in compat.RELEASES]


@pytest.mark.parametrize(
    ("version", "series"),
    [
        # PyPI and PyTorch's own index
        ("2.0.0", "2.0"),
        ("2.0.1+cu117", "2.0"),
        ("2.0.1+cpu", "2.0"),
        ("2.0.1+cpu.cxx11.abi", "2.0"),
        ("2.1.2+cu118", "2.1"),
        ("2.2.0+rocm5.7", "2.2"),
        ("2.3.1+cu121", "2.3"),
        ("2.4.1+cu124", "2.4"),
        ("2.5.1+cxx11.abi", "2.5"),
        ("2.5.1+cpu", "2.5"),
        ("2.6.0+xpu", "2.6"),
        ("2.6.0+rocm6.2.4", "2.6"),
        ("2.7.1+cu128", "2.7"),
        ("2.8.0+cu129", "2.8"),
        ("2.9.1+cu130", "2.9"),
        ("2.12.1+cu130", "2.12"),
        ("2.13.0+rocm7.2", "2.13"),
        ("2.15.0+cu132", "2.15"),
        # release candidates and nightlies
        ("2.1.0rc5", "2.1"),
        ("2.9.0rc9+cu130", "2.9"),
        ("2.3.0.dev20240122+cu121", "2.3"),
        ("2.7.0.dev20250310+cu126", "2.7"),
        ("2.13.0.dev20260301+cpu", "2.13"),
        ("2.14.0.dev20260801", "2.14"),
        # NVIDIA's containers
        ("2.1.0a0+b5021ba", "2.1"),
        ("2.2.0a0+81ea7a4", "2.2"),
        ("2.3.0a0+ebedce2", "2.3"),
        ("2.4.0a0+07cecf4168.nv24.5", "2.4"),
        ("2.6.0a0+ecf3bae40a.nv25.1", "2.6"),
        ("2.7.0a0+7c8ec84dab.nv25.3", "2.7"),
        ("2.9.0a0+145a3a7bda.nv25.10", "2.9"),
        ("2.9.0a0+nv25.9", "2.9"),
        # AMD's containers, Jetson, Intel, conda, a build from git
        ("2.3.0a0+git96dd291", "2.3"),
        ("2.7.0a0+git295f2ed", "2.7"),
        ("2.8.0+rocm7.0.0.lw.git64359f59", "2.8"),
        ("2.5.0a0+872d972e41.nv24.08", "2.5"),
        ("2.1.0.post0+cxx11.abi", "2.1"),
        ("2.4.0.post301", "2.4"),
        ("2.10.0a0+git1a2b3c4", "2.10"),
        ("v2.13.0", "2.13"),
    ],
)
def test_versions_of_a_series(version: str, series: str) -> None:
    """Local, vendor and pre-releases belong to their series."""
    choice = compat.choose(version)
    assert choice.strategy == "call_function"
    assert choice.verified
    assert f"series {series}," in choice.reason
    assert version in choice.reason
    release = compat.release_of(version)
    assert release is not None
    assert release.series == series


@pytest.mark.parametrize("version", ["2.120.0", "1.13.1", "3.0.0", "2.99.0.dev20300101", "12.13.0"])
def test_an_unverified_version(version: str) -> None:
    """It takes the set proxy, and the reason says what can be done."""
    choice = compat.choose(version)
    assert choice.strategy == "set_proxy"
    assert not choice.verified
    assert version in choice.reason
    assert "LOWERING_HOOKS_STRATEGY=call_function" in choice.reason
    newer = Version(version) > Version(VERIFIED[0])
    assert (f"newer than {VERIFIED[0]}, the last verified series" in choice.reason) is newer


@pytest.mark.parametrize("version", ["", "unknown", "2.12.x", "None", "git-1a2b3c", "2,12"])
def test_a_version_that_cannot_be_read(version: str) -> None:
    """It takes the set proxy, and the reason names it."""
    choice = compat.choose(version)
    assert choice.strategy == "set_proxy"
    assert not choice.verified
    assert repr(version) in choice.reason


def test_the_table() -> None:
    """It is newest first, and each row names a release of its series."""
    assert [Version(s) for s in VERIFIED] == sorted({Version(s) for s in VERIFIED}, reverse=True)
    for row in compat.RELEASES:
        assert compat.release_of(row.verified_with) is row
        assert row.log_text in ("eager", "lazy")
        assert row.pythons


def test_the_installed_pytorch() -> None:
    """It is in the table, or the table wants a row."""
    version = torch.__version__
    release = compat.release_of(version)
    assert release is not None, (
        f"PyTorch {version} is of no series in compat/releases.py: run nox -s new-release"
    )


def test_the_installed_inductor() -> None:
    """It keeps both contracts."""
    graph, lowering, exc = (getattr(torch._inductor, name) for name in ("graph", "lowering", "exc"))
    assert compat.call_function_problems(graph, exc) == ()
    assert compat.set_proxy_problems(graph, lowering) == ()


def test_the_stand_in_keeps_both_contracts(stand) -> None:
    """It is broken piece by piece below."""
    assert compat.call_function_problems(stand.graph, stand.exc) == ()
    assert compat.set_proxy_problems(stand.graph, stand.lowering) == ()


def drop_class(graph, exc):
    del graph.GraphLowering


def drop_method(graph, exc):
    del graph.GraphLowering.call_function


def other_parameters(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, node: original(self, node, (), {})


def not_described(graph, exc):
    scope = vars(graph)  # as Inductor's own function would be: that of others is their business
    exec("def call_function(self, target, args, kwargs): return None", scope)
    graph.GraphLowering.call_function = scope["call_function"]


def not_a_function(graph, exc):
    graph.GraphLowering.call_function = 3


def drop_issue(graph, exc):
    del exc.OperatorIssue


def not_static(graph, exc):
    exc.OperatorIssue.operator_str = lambda target, args, kwargs: ""


def other_text_parameters(graph, exc):
    exc.OperatorIssue.operator_str = staticmethod(lambda target, args: "")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (drop_class, "defines no call_function"),
        (drop_method, "defines no call_function"),
        (not_a_function, "defines no call_function"),
        (other_parameters, "takes (self, node), so it cannot be called with 4 positional arguments"),
        (not_described, "does not reach operator_str"),
        (drop_issue, "not a static method"),
        (not_static, "not a static method"),
        (other_text_parameters, "takes (target, args), so it cannot be called with 3 positional arguments"),
    ],
)
def test_a_broken_call_function_contract(stand, break_it, says: str) -> None:
    """It is named."""
    break_it(stand.graph, stand.exc)
    problems = compat.call_function_problems(stand.graph, stand.exc)
    assert any(says in problem for problem in problems)


def renamed(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, t, a, k: original(self, t, a, k)


def one_more_parameter(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, target, args, kwargs, *, stream=None: original(
        self, target, args, kwargs
    )


def passes_everything_on(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda *args, **kwargs: original(*args, **kwargs)


def asks_in_an_inner_function(graph, exc):
    """As Inductor does where it builds the text lazily; a function of Inductor's own."""
    exec(
        "def call_function(self, target, args, kwargs):\n"
        "    return (lambda: OperatorIssue.operator_str(target, args, kwargs))()",
        vars(graph),
    )
    graph.GraphLowering.call_function = graph.call_function


def copied_without_the_log(graph, exc):
    """As a plugin for another device does: a function of its own, which never calls the original."""
    graph.GraphLowering.call_function = lambda self, target, args, kwargs: target


def in_a_static_method(graph, exc):
    graph.GraphLowering.call_function = staticmethod(lambda target, args, kwargs: target)


def without_a_signature(graph, exc):
    class Builtin:
        __signature__ = "none that can be read"

        def __get__(self, instance, owner):
            return self

        def __call__(self, target, args, kwargs):
            return target

    graph.GraphLowering.call_function = Builtin()


def in_a_derived_class(graph, exc):
    graph.GraphLowering = type("Theirs", (graph.GraphLowering,), {})


def own_text(graph, exc):
    exc.LoweringException.operator_str = staticmethod(lambda target, args, kwargs: "")


def longer_text(graph, exc):
    exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs, style=None: "")


@pytest.mark.parametrize(
    "patch",
    [
        renamed,
        one_more_parameter,
        passes_everything_on,
        asks_in_an_inner_function,
        copied_without_the_log,
        in_a_static_method,
        without_a_signature,
        in_a_derived_class,
        own_text,
        longer_text,
    ],
)
def test_what_pytorch_could_call(stand, patch) -> None:
    """It keeps the contract: no more is asked for than PyTorch relies on."""
    patch(stand.graph, stand.exc)
    assert compat.call_function_problems(stand.graph, stand.exc) == ()


def test_a_broken_allow_list(stand) -> None:
    """It is named."""
    graph, lowering = stand.graph, stand.lowering
    graph.FALLBACK_ALLOW_LIST = set(graph.FALLBACK_ALLOW_LIST)
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "different" in problem
    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = 7
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "is a int" in problem
    del graph.FALLBACK_ALLOW_LIST
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "has no FALLBACK_ALLOW_LIST" in problem


def test_operator_str_behind_wrappers(stand) -> None:
    """It is found behind those of others, by a closure and by a module global."""
    graph, exc = stand.graph, stand.exc
    original = graph.GraphLowering.call_function

    def call_function(self, target, args, kwargs):  # by a closure
        return original(self, target, args, kwargs)

    graph.GraphLowering.call_function = call_function
    assert compat.call_function_problems(graph, exc) == ()

    module = types.ModuleType("plugin")  # by a module global, as the plugins do that assign the method
    module._original = original
    exec(
        "def theirs(self, target, args, kwargs):\n    return _original(self, target, args, kwargs)",
        vars(module),
    )
    graph.GraphLowering.call_function = module.theirs
    assert compat.call_function_problems(graph, exc) == ()
