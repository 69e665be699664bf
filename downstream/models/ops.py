"""Custom ops as serving engines have them, and two ways to put them into a model that knows nothing of them.

:func:`swap` replaces modules by their kind: norms, activations, experts, mixers and rotary embeddings.
:meth:`Ops.fuse` then replaces what Dynamo captured: a sum and the norm of it become one op with two outputs, which
both the next layer and the residual stream read; a scaled dot product becomes one op.
All ops are functional, and each has an op for its gradient.
"""

from __future__ import annotations

import contextlib
import copy
import operator
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch.nn import functional

Function = Callable[..., Any]

# Names the kinds of modules that become one op each, by patterns that their class names match; the first one counts.
KINDS: Final = (
    ("experts", re.compile(r".*Experts")),
    ("mixer", re.compile(r"Mamba\w*Mixer")),
    ("rms_norm", re.compile(r"(?!Ada)\w*RMSNorm|T5LayerNorm")),
    ("group_norm", re.compile(r"GroupNorm")),
    ("batch_norm", re.compile(r"\w*BatchNorm\w*")),
    # Norms that are called with a condition as well have names that begin with Ada; the norm in them is one op.
    # Wav2Vec2 names whole layers after the norm that they have in them.
    ("layer_norm", re.compile(r"(?!Ada|\w*Encoder)\w*LayerNorm(?!Conv)\w*")),
    ("layer_scale", re.compile(r"\w*LayerScale")),
    ("act", re.compile(r"SiLU\w*|ReLU6?|Hardswish|Tanh|Sigmoid|\w*GELU\w*")),
)
NORMS: Final = ("rms_norm", "layer_norm", "group_norm", "batch_norm")
# Maps functions that a model calls as such to the key of the activation.
ACTIVATIONS: Final[dict[Any, str]] = {
    functional.relu: "relu",
    functional.gelu: "gelu",
    functional.silu: "silu",
    torch.relu: "relu",
    torch.tanh: "tanh",
}
ADDITIONS: Final = (operator.add, operator.iadd, torch.add)


class Ops:
    """The ops of one namespace: in a process, each compile that shall meet them for the first time has its own.

    Args:
        namespace: The part of their names before ``::``.
        strides: Takes the name of each op that is run, and the strides that its arguments have.
    """

    def __init__(self, namespace: str, strides: list[Any]) -> None:
        self.namespace = namespace
        self.graphs = 0
        self._strides = strides
        # What an op computes, by the key that it is called with; keys are the same in every process.
        self.functions: dict[str, Function] = {
            "relu": functional.relu,
            "gelu": functional.gelu,
            "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
            "silu": functional.silu,
            "tanh": torch.tanh,
        }
        call = self._call
        exact, flexible = (torch.Tag.needs_fixed_stride_order,), (torch.Tag.flexible_layout,)
        self.norms, self.fused_norms = {}, {}
        for kind in NORMS:
            self.norms[kind] = self._define(
                kind, "Tensor x, Tensor[] params, str key", call, lambda x, *others: [x]
            )
            self.fused_norms[self.norms[kind]] = self._define(
                f"fused_add_{kind}",
                "Tensor x, Tensor residual, Tensor[] params, str key",
                lambda x, residual, params, key: (call(x + residual, params, key), x + residual),
                lambda x, *others: [x, x],
            )
        self.act = self._define("act", "Tensor x, str key", call, lambda x, key: [x], flexible)
        self.add_act = self._define(
            "fused_add_act",
            "Tensor x, Tensor residual, str key",
            lambda x, residual, key: call(x + residual, key),
            lambda x, *others: [x],
        )
        self.act_mul = self._define(
            "act_and_mul",
            "Tensor x, Tensor y, str key",
            lambda x, y, key: call(x, key) * y,
            lambda x, *others: [x],
            flexible,
        )
        self.add = self._define("residual_add", "Tensor x, Tensor residual", torch.add, lambda x, y: [x])
        self.experts = self._define(
            "fused_experts",
            "Tensor x, Tensor index, Tensor weights, Tensor[] params, str key",
            call,
            lambda x, *others: [x],
        )
        self.scale = self._define(
            "layer_scale", "Tensor x, Tensor[] params, str key", call, lambda x, *others: [x]
        )
        self.mixer = self._define(
            "mixer", "Tensor x, Tensor[] params, str key", call, lambda x, *others: [x], exact
        )
        self.rotary = self._define(
            "rotary_embedding",
            "Tensor q, Tensor k, Tensor cos, Tensor sin, str key",
            call,
            lambda q, k, *others: [q, k],
        )
        self.attention = self._define(
            "attention",
            "Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? sinks, bool causal, float? scale",
            attention,
            lambda q, k, v, *others: [(q, (q.shape[0], q.shape[2], q.shape[1], v.shape[-1]))],
            exact,
        )
        self.gather = self._define("all_gather", "Tensor x", lambda x: x, lambda x: [x])
        self.loss = self._define(
            "fused_loss", "Tensor x", lambda x: x.float().square().mean(), lambda x: [(x, ())]
        )

    def _call(self, *args: Any) -> Any:
        *tensors, key = args
        return self.functions[key](*tensors)

    def _define(
        self, name: str, arguments: str, compute: Function, like: Function, tags: Sequence[Any] = ()
    ) -> Any:
        """Define an op, and one for its gradient; ``like`` names the tensors that its outputs are like."""
        results = len(like(*[torch.empty(1, 1, 1, 1)] * (arguments.count(",") + 1)))
        returned = "Tensor" if results == 1 else f"({', '.join(['Tensor'] * results)})"

        def kernel(*args: Any) -> Any:
            self._strides.append([name, [list(tensor.stride()) for tensor in tensors_of(args)]])
            found = compute(*args)
            made = tuple(new(tensor) for tensor in (found if isinstance(found, tuple) else (found,)))
            return made[0] if results == 1 else made

        def fake(*args: Any) -> Any:
            made = tuple(
                one.new_empty(one.shape) if isinstance(one, torch.Tensor) else one[0].new_empty(one[1])
                for one in like(*args)
            )
            return made[0] if results == 1 else made

        def gradient(grads: list[Any], *args: Any) -> list[Any]:
            self._strides.append([f"{name}_backward", [list(t.stride()) for t in tensors_of((grads, *args))]])
            with recording():
                leaves = [
                    t.detach().requires_grad_() if t.is_floating_point() else t for t in tensors_of(args)
                ]
                found = compute(*with_tensors(args, leaves))
                wanted = [leaf for leaf in leaves if leaf.requires_grad]
                found = found if isinstance(found, tuple) else (found,)
                made = torch.autograd.grad(found, wanted, grads, allow_unused=True)
            return [
                new(torch.zeros_like(leaf) if grad is None else grad)
                for leaf, grad in zip(wanted, made, strict=True)
            ]

        def fake_gradient(grads: list[Any], *args: Any) -> list[Any]:
            return [t.new_empty(t.shape) for t in tensors_of(args) if t.is_floating_point()]

        def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.save_for_backward(*tensors_of(inputs))
            ctx.rest = with_tensors(inputs, [None] * len(tensors_of(inputs)), is_kept=True)

        def backward(ctx: Any, *grads: Any) -> Any:
            saved = list(ctx.saved_tensors)
            made = iter(backward_op(list(grads), *with_tensors(ctx.rest, saved)))
            given = [next(made) if tensor.is_floating_point() else None for tensor in saved]
            return tuple(
                arg if isinstance(arg, (torch.Tensor, list)) else None
                for arg in with_tensors(ctx.rest, given, is_gradient=True)
            )

        options = {"tags": tags} if tags else {}
        define = torch.library.custom_op
        op = define(
            f"{self.namespace}::{name}",
            kernel,
            mutates_args=(),
            schema=f"({arguments}) -> {returned}",
            **options,
        )
        op.register_fake(fake)
        schema = f"(Tensor[] grads, {arguments}) -> Tensor[]"
        of_gradient = define(
            f"{self.namespace}::{name}_backward", gradient, mutates_args=(), schema=schema, **options
        )
        of_gradient.register_fake(fake_gradient)
        op.register_autograd(backward, setup_context=remember)
        backward_op = getattr(getattr(torch.ops, self.namespace), f"{name}_backward").default
        return getattr(getattr(torch.ops, self.namespace), name).default

    def fuse(self, graph: torch.fx.GraphModule, *, adds: bool) -> None:
        """Replace what Dynamo captured, in place.

        Args:
            graph: What a backend is handed.
            adds: Whether a sum of the residual stream that no op takes is an op of its own.
        """
        self.graphs += 1
        nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
        _write_nowhere(nodes)
        for node in nodes:
            if node.target in ACTIVATIONS and len(node.args) == 1 and not node.kwargs.get("inplace"):
                is_tanh = node.kwargs.get("approximate") == "tanh"
                _become(node, self.act, (*node.args, "gelu_tanh" if is_tanh else ACTIVATIONS[node.target]))
            elif node.target is functional.scaled_dot_product_attention:
                self._fuse_attention(node)
        for node in nodes:
            if node.target in self.fused_norms and is_sum(node.args[0]):
                self._fuse_norm(node)
            elif node.target is self.act and is_sum(node.args[0]) and len(node.args[0].users) == 1:
                _become(node, self.add_act, (*node.args[0].args, node.args[1]))
            elif node.target is operator.mul:
                self._fuse_product(node)
        self._erase_replaced(nodes)
        for node in graph.graph.nodes:
            if adds and is_sum(node):
                _become(node, self.add, node.args)
        graph.recompile()

    def _erase_replaced(self, nodes: list[Any]) -> None:
        """Erase those nodes whose place an op has taken.

        FX would eliminate what has no users because it writes into its argument as well, such as ``scatter_``.
        """
        for node in reversed(nodes):
            if not node.users and (node.target is self.act or is_sum(node)):
                node.graph.erase_node(node)

    def _fuse_product(self, node: Any) -> None:
        first, second = node.args
        if is_node(first) and is_node(second) and first.target is self.act and shape(first) == shape(second):
            _become(node, self.act_mul, (first.args[0], second, first.args[1]))

    def _fuse_norm(self, node: Any) -> None:
        added = node.args[0]
        graph = node.graph
        with graph.inserting_before(node):
            fused = graph.call_function(self.fused_norms[node.target], (*added.args, *node.args[1:]))
            normed, total = (graph.call_function(operator.getitem, (fused, place)) for place in (0, 1))
        for new_node in (normed, total):
            new_node.meta["example_value"] = added.meta["example_value"]
        node.replace_all_uses_with(normed)
        # What reads the sum before the norm stays: it reads the sum as it was.
        later = False
        for other in graph.nodes:
            later = later or other is total
            if later and other is not fused:
                other.replace_input_with(added, total)

    def _fuse_attention(self, node: Any) -> None:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        if given.get("dropout_p") or given.get("enable_gqa"):
            return
        q, k, v = (given[name] for name in names[:3])
        rest = (given.get("attn_mask"), None, bool(given.get("is_causal")), given.get("scale"))
        if len(shape(q) or ()) != 4:
            return
        with node.graph.inserting_before(node):
            made = node.graph.call_function(self.attention, (q, k, v, *rest))
        # The op has the heads beside their dimensions, where the next layer wants them.
        node.op = "call_method"
        _become(node, "transpose", (made, 1, 2))


def _write_nowhere(nodes: list[Any]) -> None:
    """Let sums that are written into their first argument, which nothing else reads, be tensors of their own."""
    for node in nodes:
        if node.target is operator.iadd and is_sum(node):
            node.target = operator.add


def _become(node: Any, target: Any, args: tuple[Any, ...]) -> None:
    node.target, node.args, node.kwargs = target, args, {}


def is_node(value: Any) -> bool:
    return isinstance(value, torch.fx.Node)


def shape(node: Any) -> Any:
    value = node.meta.get("example_value")
    return value.shape if isinstance(value, torch.Tensor) else None


def is_sum(node: Any) -> bool:
    """Whether a node adds two activations of one shape, and changes none that anything else reads."""
    if not is_node(node) or node.op != "call_function" or node.target not in ADDITIONS or node.kwargs:
        return False
    first, second = node.args
    return (
        is_node(first)
        and is_node(second)
        and shape(first) is not None
        and shape(first) == shape(second)
        and len(shape(first)) > 1
        and node.meta["example_value"].is_floating_point()
        and first.meta["example_value"].dtype == second.meta["example_value"].dtype
        and (node.target is not operator.iadd or list(first.users) == [node])
    )


def attention(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    """Return what attention gives, heads in the third dimension, for heads in the second.

    Keys may have fewer heads than queries.
    """
    mask, sinks, causal, scale = rest
    repeats = q.shape[1] // k.shape[1]
    if repeats > 1:
        k, v = (one.repeat_interleave(repeats, dim=1) for one in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal and q.shape[-2] > 1:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(ones.triu(1), float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    if sinks is not None:
        extra = sinks.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, extra], dim=-1)
    weights = scores.softmax(-1)[..., : k.shape[-2]]
    return (weights @ v).transpose(1, 2)


def swap(model: torch.nn.Module, ops: Ops) -> None:
    """Replace, in place, what modules do by one op each."""
    swapped: set[str] = set()
    for name, module in list(model.named_modules()):
        if any(name.startswith(f"{outer}.") for outer in swapped):
            continue
        kind = next((kind for kind, names in KINDS if names.fullmatch(type(module).__name__)), None)
        # The activations of diffusers have a linear layer in them, before the function that is fused later.
        has_layer = kind == "act" and next(module.parameters(), None) is not None
        if kind is not None and not has_layer:
            swapped.add(name)
            _swap_module(module, kind, f"{kind} {name}", ops)
    for namespace in {type(module).__module__ for module in model.modules()}:
        if namespace.startswith("transformers."):
            _swap_rotary(sys.modules[namespace], ops)


def _swap_module(module: torch.nn.Module, kind: str, key: str, ops: Ops) -> None:
    original = copy.deepcopy(module)
    if hasattr(original, "inplace"):
        original.inplace = False
    names = [name for name, _ in module.named_parameters()]
    buffers = [name for name, _ in module.named_buffers()]

    def function(*args: Any) -> Any:
        if kind == "act":
            return original(*args)
        *inputs, params = args
        # Buffers are data: a norm does not take its running mean with a gradient.
        held = params[: len(names)] + [buffer.detach() for buffer in params[len(names) :]]
        given = dict(zip(names + buffers, held, strict=True))
        return torch.func.functional_call(original, given, tuple(inputs))

    ops.functions[key] = function
    own = {"act": ops.act, "experts": ops.experts, "mixer": ops.mixer, "layer_scale": ops.scale, **ops.norms}[
        kind
    ]

    class Swapped(type(module)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            inputs = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)]
            if kind == "act":
                return own(inputs[0], key)
            params = [*self.parameters(), *self.buffers()]
            return own(*inputs, params, key)

    Swapped.__name__ = type(module).__name__
    module.__class__ = Swapped


def _swap_rotary(namespace: Any, ops: Ops) -> None:
    for name in ("apply_rotary_pos_emb", "apply_rotary_pos_emb_interleave"):
        original = getattr(namespace, name, None)
        if original is None:
            continue
        original = getattr(original, "swapped", original)
        key = f"{namespace.__name__} {name}"
        ops.functions[key] = original

        def rotary(q: Any, k: Any, cos: Any, sin: Any, *others: Any, key: str = key, **options: Any) -> Any:
            return ops.rotary(q, k, cos, sin, key)

        rotary.swapped = original  # type: ignore[attr-defined]
        setattr(namespace, name, rotary)


def tensors_of(args: Any) -> list[Any]:
    """Return the tensors among an op's arguments, in order."""
    found = []
    for arg in args:
        found += [
            one for one in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(one, torch.Tensor)
        ]
    return found


class _Place:
    """Stands for a tensor among the arguments that an op was called with."""


def with_tensors(
    args: Any, tensors: list[Any], *, is_kept: bool = False, is_gradient: bool = False
) -> tuple[Any, ...]:
    """Return an op's arguments with others in the place of their tensors.

    Args:
        args: What the op was called with, or what this function returned with ``is_kept``.
        tensors: As many as there are tensors.
        is_kept: Whether a mark is put into their place, instead of ``tensors``.
        is_gradient: Whether what is not a tensor becomes None, as in what a backward function returns.
    """
    given = iter(tensors)

    def one(arg: Any) -> Any:
        if isinstance(arg, (torch.Tensor, _Place)):
            replaced = next(given)
            return _Place() if is_kept else replaced
        return None if is_gradient else arg

    return tuple([one(x) for x in arg] if isinstance(arg, (list, tuple)) else one(arg) for arg in args)


def new(tensor: Any) -> Any:
    """Return a contiguous copy, which aliases no argument."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Let autograd record in this block, which is in a kernel, below autograd."""
    key = torch._C.DispatchKey.AutogradFunctionality
    before = torch._C._dispatch_tls_is_dispatch_key_excluded(key)
    torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, before)
