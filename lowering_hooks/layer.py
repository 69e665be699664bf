"""The layer: decides what to hook, when, and keeps the one state of this process."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, NamedTuple

from .call_function import CallFunctionHook
from .compat import Choice, Strategy, choose
from .inductor import GRAPH, Inductor, half_imported, loaded
from .ir_text import BoundedIR
from .namespaces import Namespaces
from .records import Records
from .set_proxy import SetProxyHook, vllm_conflict
from .settings import Request, Settings, requested

State = Literal["pending", "active", "removed", "inactive", "displaced"]
Hook = CallFunctionHook | SetProxyHook

log = logging.getLogger("lowering_hooks")


class Status(NamedTuple):
    """What the layer did in this process, and why.

    Attributes:
        version: The version of lowering-hooks; None where it runs from a folder that was not installed.
        torch_version: The version of PyTorch, loaded or installed; None where none is known.
        strategy: ``"call_function"``, ``"set_proxy"`` or ``"none"``; while the state is ``"pending"``, the
            one that will be tried, as far as it is known.
        state: ``"pending"`` (Inductor is not imported yet), ``"active"``, ``"removed"``, ``"inactive"``
            (nothing is hooked) or ``"displaced"`` (somebody replaced our hook after us).
        reason: Why, in a sentence.
        namespaces: The allowed namespaces, here and now.
        conflicts: What others have done to the same places, and what that means; one sentence each.
        bounded_ir: Whether the text of IR nodes themselves is bounded, as ``bounded_ir()`` asks for.
    """

    version: str | None
    torch_version: str | None
    strategy: Strategy
    state: State
    reason: str
    namespaces: frozenset[str]
    conflicts: tuple[str, ...]
    bounded_ir: bool

    def __str__(self) -> str:
        rows = {
            "lowering-hooks": self.version or "not installed",
            "PyTorch": self.torch_version or "not installed",
            "strategy": self.strategy,
            "state": self.state,
            "reason": self.reason,
            "namespaces": ", ".join(sorted(self.namespaces)) or "none",
            "conflicts": "\n                ".join(self.conflicts) or "none",
            "bounded IR": "on" if self.bounded_ir else "off",
        }
        return "\n".join(f"{label:14}  {value}" for label, value in rows.items())

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes, and the version of Python, as JSON has them."""
        return self._asdict() | {
            "namespaces": sorted(self.namespaces),
            "conflicts": list(self.conflicts),
            "python_version": sys.version.split()[0],
        }


class Layer:
    """One per process.  State changes under its lock, where nothing is imported and nothing is logged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._request: Request = settings.strategy
        self._waiting = False  # for Inductor to be imported
        self._registered = False  # with wrapt, once per process
        self._watch: _ImportWatch | None = None
        self._hook: Hook | None = None
        self._bounded_ir: BoundedIR | None = None
        self._bounds_ir = settings.bounded_ir  # as was asked for last
        self._ir_waiting = False  # as _waiting, to bound the IR's text
        self._reason = ""
        self._told: set[str] = set()  # caveats that a WARNING has told already
        # The state and reason while there is neither a hook nor anything to wait for.
        self._idle: tuple[State, str] = ("inactive", "not applied")
        self.namespaces = Namespaces(settings.namespaces)
        self.records = Records()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Begin in a forked process: a thread that is not there any more may have held a lock."""
        self._lock = threading.RLock()
        self.namespaces.forked()
        self.records.forked()

    def apply(self, strategy: Any = "auto") -> Status:
        self.ask_for(strategy)
        return self.status()

    def ask_for(self, strategy: Any = "auto") -> None:
        """Hook as ``apply`` does, without looking at what came of it."""
        request = requested(strategy)
        if request == "auto":
            request = self._settings.strategy
        if self._settings.off is not None:
            self._idle = ("inactive", f"switched off by LOWERING_HOOKS={self._settings.off}")
            return
        with self._lock:
            self._request = request
            self._waiting = request != "none" or self._hook is not None
            self._ir_waiting = self._bounds_ir
            if not self._waiting:
                self._idle = ("inactive", "strategy none was asked for")
        self._hook_if_ready()
        self._register_once()

    def remove(self) -> Status:
        with self._lock:
            if self._waiting or self._hook is not None:
                self._idle = ("removed", "removed by remove()")
            self._waiting = self._ir_waiting = False
            if self._hook is not None:
                self._hook.remove()
                self._hook = None
            self._unbound_ir()
        return self.status()

    def bound_ir(self, enabled: Any) -> Status:
        if not isinstance(enabled, bool):
            raise TypeError(f"not a bool: {enabled!r}; accepted: True, False")
        with self._lock:
            self._bounds_ir = enabled
            self._ir_waiting = enabled and self._settings.off is None
            if not enabled:
                self._unbound_ir()
        self._hook_if_ready()
        self._register_once()
        return self.status()

    def status(self) -> Status:
        self._hook_if_ready()
        version, torch_version = _installed("lowering-hooks"), _torch_version()
        choice = choose(str(torch_version))
        with self._lock:
            inductor = loaded()
            conflicts = vllm_conflict(inductor) if inductor is not None else ()
            strategy: Strategy = "none"
            state, reason = self._idle
            if self._waiting:
                state, strategy, reason = _outlook(self._request, torch_version, choice)
            elif self._hook is not None:
                strategy, state, reason = self._hook.strategy, "active", self._reason
                conflicts += self._hook.conflicts()
                by = self._hook.displaced_by()
                if by is not None:
                    state = "displaced"
                    reason = f"replaced after us by {by}; lowering_hooks.apply() hooks what stands now"
        return Status(
            version=version,
            torch_version=torch_version,
            strategy=strategy,
            state=state,
            reason=reason,
            namespaces=self.namespaces.current(),
            conflicts=conflicts,
            bounded_ir=self._bounded_ir is not None,
        )

    def _register_once(self) -> None:
        with self._lock:
            if self._registered or not (self._waiting or self._ir_waiting) or loaded() is not None:
                return
            self._registered = True
        if "torch" in sys.modules:
            self._register()
        else:
            # wrapt takes longer to import than all of ours, which a process without PyTorch is spared.
            _ImportWatch(lambda name: name == "torch" or "torch" in sys.modules, self._register)

    def _register(self) -> None:
        """Have wrapt tell of Inductor.  Never raises: it may run inside somebody's import of PyTorch."""
        # wrapt calls at once where the module is in sys.modules by now, half imported by another thread;
        # otherwise right after the module's code ran, when its spec still says that it is initializing.
        at_once = True

        def on_import(_: ModuleType) -> None:
            self._hook_if_ready(complete=not at_once)

        try:
            import wrapt

            wrapt.register_post_import_hook(on_import, GRAPH)
        except Exception as error:
            with self._lock:
                self._registered = self._waiting = self._ir_waiting = False
                self._idle = ("inactive", f"wrapt cannot be used: {type(error).__name__}: {error}")
            log.warning("nothing will be hooked, PyTorch runs as without lowering-hooks: %s", self._idle[1])
        at_once = False

    def _hook_if_ready(self, complete: bool = False) -> None:
        """Hook the loaded Inductor if that was asked for and is still to be done.

        Never raises: it runs inside other people's imports.
        """
        if loaded() is None or not (self._waiting or self._ir_waiting):
            return
        version = _torch_version()
        choice = choose(str(version))  # both may import something
        with self._lock:
            inductor = loaded()
            if inductor is None or not (self._waiting or self._ir_waiting):
                return
            if not complete and half_imported(inductor.graph):
                if self._watch is None:
                    self._watch = _ImportWatch(lambda _: _is_complete(GRAPH), self._hook_if_ready)
                return
            self._watch = None
            hook, bound_ir = self._waiting, self._ir_waiting
            self._waiting = self._ir_waiting = False
            messages = self._hook_now(inductor, version, choice) if hook else []
            messages += self._bound_ir_now() if bound_ir else []
        for level, message in messages:
            log.log(level, "%s", message)

    def _hook_now(self, inductor: Inductor, version: str | None, choice: Choice) -> list[tuple[int, str]]:
        """Hook, and return what is to be logged."""
        try:
            return self._hook_by_plan(inductor, version, choice)
        except Exception as error:
            self._idle = ("inactive", f"{type(error).__name__}: {error}")
            return [(logging.WARNING, f"nothing was hooked: {self._idle[1]}")]

    def _hook_by_plan(self, inductor: Inductor, version: str | None, choice: Choice) -> list[tuple[int, str]]:
        """Install the first strategy whose contract holds, and return what is to be logged."""
        strategies, why, advice = _plan(self._request, choice)
        broken: list[str] = []
        for strategy in strategies:
            if self._stands(strategy):
                self._reason = self._reason_for(broken, why)
                return []
            try:
                hook = self._installed_hook(strategy, inductor)
            except _BrokenContractError as error:
                broken.append(f"{strategy} cannot be used: {error}")
                continue
            self._hook = hook
            self._reason = self._reason_for(broken, why)
            untold = "" if hook.caveat in self._told else hook.caveat
            self._told.add(hook.caveat)
            warnings = [*broken, *filter(None, (advice, untold))]
            messages = [(logging.INFO, f"PyTorch {version} hooked by {strategy}: {self._reason}")]
            if warnings:
                text = f"PyTorch {version} is hooked by {strategy} only: {'; '.join(warnings)}"
                messages.append((logging.WARNING, text))
            return messages

        if not strategies:
            if self._hook is not None:
                self._hook.remove()
                self._hook = None
            self._idle = ("inactive", why)
            return []
        reason = "; ".join(broken)
        if self._hook is not None:
            return [(logging.WARNING, f"{reason}; {self._hook.strategy} stays")]
        self._idle = ("inactive", reason)
        text = f"nothing is hooked and PyTorch {version} runs as without lowering-hooks: {reason}"
        return [(logging.WARNING, text)]

    def _bound_ir_now(self) -> list[tuple[int, str]]:
        """Bound the text of IR nodes unless it is, and return what is to be logged."""
        if self._bounded_ir is not None:
            return []
        try:
            self._bounded_ir = BoundedIR(sys.modules["torch._inductor.ir"])
            self._bounded_ir.install()
        except Exception as error:
            self._unbound_ir()
            problem = f"{type(error).__name__}: {error}"
            return [(logging.WARNING, f"the text of IR nodes could not be bounded: {problem}")]
        return []

    def _unbound_ir(self) -> None:
        if self._bounded_ir is not None:
            self._bounded_ir.remove()
            self._bounded_ir = None

    def _reason_for(self, broken: list[str], why: str) -> str:
        caveat = self._hook.caveat if self._hook is not None else ""
        return "; ".join(filter(None, (*broken, why, caveat)))

    def _stands(self, strategy: Strategy) -> bool:
        hook = self._hook
        return hook is not None and hook.strategy == strategy and hook.displaced_by() is None

    def _installed_hook(self, strategy: Strategy, inductor: Inductor) -> Hook:
        hook: Hook | None = None
        make: Callable[[Inductor, Namespaces, Records], Hook]
        if strategy == "call_function":
            find_problems = CallFunctionHook.problems
            make = functools.partial(CallFunctionHook, detail=self._settings.detail)
        else:
            find_problems, make = SetProxyHook.problems, SetProxyHook
        try:
            problems = find_problems(inductor)
            if problems:
                raise _BrokenContractError("; ".join(problems))
            hook = make(inductor, self.namespaces, self.records)
            if self._hook is not None:
                self._hook.remove()
                self._hook = None
            hook.install()
        except _BrokenContractError:
            raise
        except Exception as error:
            # An internal that is of another type than ever seen, or that raises when it is looked at.
            if hook is not None:
                hook.remove()
            raise _BrokenContractError(f"{type(error).__name__}: {error}") from error
        return hook


class _BrokenContractError(Exception):
    """The installed Inductor is not what a strategy needs; the text says in what."""


class _ImportWatch:
    """Waits, as a finder that finds nothing, for an import that meets a condition, and acts then, once.

    It is asked at every import: PyTorch's comes with hundreds, and a compile's first node with many more.
    """

    def __init__(self, condition: Callable[[str], bool], action: Callable[[], None]) -> None:
        self._condition = condition
        self._action: Callable[[], None] | None = action
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        action = self._action
        if action is None or not self._condition(name):
            return
        # It stays in sys.meta_path, silent from now on: the import system is iterating over that very list,
        # and taking an entry out would make it pass over the next one.
        self._action = None
        action()


def _is_complete(name: str) -> bool:
    """Whether a module is imported, to its end."""
    module = sys.modules.get(name)
    return module is not None and not half_imported(module)


def _plan(request: Request, choice: Choice) -> tuple[tuple[Strategy, ...], str, str]:
    """Return the strategies to try in order, why, and what to advise the user if that is not the best."""
    if request == "none":
        return (), "strategy none was asked for", ""
    if request != "auto":
        return (request,), f"strategy {request} was asked for", ""
    tried: tuple[Strategy, ...] = (choice.strategy,)
    if choice.strategy != "set_proxy":
        tried += ("set_proxy",)
    return tried, choice.reason, "" if choice.verified else choice.reason


def _outlook(request: Request, torch_version: str | None, choice: Choice) -> tuple[State, Strategy, str]:
    """Return the state, strategy and reason while Inductor is not imported."""
    waiting = "torch._inductor.graph is not imported yet"
    if torch_version is None and not torch_is_there():
        return "inactive", "none", "PyTorch is not installed here"
    if torch_version is None and request == "auto":
        return "pending", "none", f"{waiting}; the version of PyTorch will be known then"
    strategies, why, _ = _plan(request, choice)
    return "pending", strategies[0], f"{waiting}; {why}"


def torch_is_there() -> bool:
    """Whether PyTorch could be imported: it may be a source tree that no package metadata tells of."""
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # ValueError: a module in sys.modules without a spec
        return sys.modules.get("torch") is not None


def _torch_version() -> str | None:
    """Return the version of the PyTorch that is loaded, else of the one that is installed."""
    try:
        return str(sys.modules["torch"].__version__)
    except Exception:  # not loaded, or without a version
        return _installed("torch")


def _installed(distribution: str) -> str | None:
    try:
        # Here, for the time it takes, and a source tree of PyTorch and we ourselves may do without.
        import importlib.metadata

        return importlib.metadata.version(distribution)
    except Exception:  # not there, or its metadata is broken
        return None
