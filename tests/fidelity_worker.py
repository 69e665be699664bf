"""Compiles the fidelity cases in one way and writes down what came out.  Run as a script by the tests.

``python fidelity_worker.py MODE OUTPUT.json DEMO_FOLDER [DEVICE]``, where MODE is one of

* ``stock``;
* ``hooked``: the strategy ``call_function``;
* ``bounded_ir``: the same, with every text of IR bounded;
* ``cut``: the same, with no namespace allowed, and every text cut at 300 characters;
* ``set_proxy``: our strategy of that name, forced;
* ``plain``: a set that says yes and keeps nothing.

It imports lowering_hooks only where the mode is about it.  So the caller names the folder of the demo's modules:
importing the package to find it would hook what is to be stock.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import unittest.mock
import warnings
from pathlib import Path
from typing import Any, Literal

warnings.simplefilter("ignore")

import torch
import torch._inductor.compile_fx
import torch.nn.functional as F  # noqa: N812
from torch._inductor import config as inductor_config
from torch._inductor import lowering
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.library import Library

sys.path.insert(0, sys.argv[3])

from demo_compiling import capture_code, install_plain_set_proxy, log_to, write_scalar_code
from demo_decoder import decoder, define_ops, tensors

NAMESPACE = "fidelity"
DEVICE = sys.argv[4] if len(sys.argv) > 4 else "cpu"
library = Library(NAMESPACE, "DEF")
strides: list[Any] = []
code: list[str] = []
shape_envs: list[ShapeEnv] = []

# PyTorch has needs_fixed_stride_order from 2.3 on, flexible_layout from 2.5 on, needs_exact_strides from 2.8 on.
TAGS = {
    kind: tags
    for kind, tags in {
        "untagged": (),
        "fixed": ("needs_fixed_stride_order",),
        "exact": ("needs_exact_strides",),
        "flexible": ("flexible_layout",),
    }.items()
    if all(hasattr(torch.Tag, tag) for tag in tags)
}
# PyTorch 2.5 renamed it.
LAYOUT_CONSTRAINTS = getattr(lowering, "_maybe_layout_constraints", None)
if LAYOUT_CONSTRAINTS is None:
    LAYOUT_CONSTRAINTS = lowering.layout_constraints


def define(schema: str, kernel: Any, fake: Any, tags: tuple[str, ...] = ()) -> Any:
    name = schema.partition("(")[0]
    known = tuple(getattr(torch.Tag, tag) for tag in tags)
    library.define(schema, tags=known) if known else library.define(schema)

    def run(*args: Any, **kwargs: Any) -> Any:
        for arg in (*args, *kwargs.values()):
            given = arg if isinstance(arg, (list, tuple)) else [arg]
            strides.extend([name, list(t.stride())] for t in given if isinstance(t, torch.Tensor))
        return kernel(*args, **kwargs)

    library.impl(name, run, DEVICE.upper())
    library.impl(name, fake, "Meta")
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def contiguous(x: Any) -> Any:
    return (x * 2).contiguous()


def empty(x: Any) -> Any:
    return x.new_empty(x.shape)


# --- what a kernel is fed ------------------------------------------------------------------------------------

FEEDS = {
    "transposed": (lambda x: (x.t() * 3).t(), (12, 20)),
    "transposed_result": (lambda x: torch.tanh(x).t(), (12, 20)),
    "permuted": (lambda x: torch.sin(x.view(4, 3, 20).permute(1, 2, 0)), (12, 20)),
    "permuted_back": (lambda x: (x.view(4, 3, 20).transpose(0, 1) * 0.5).transpose(0, 1), (12, 20)),
    "expanded": (lambda x: torch.cos(x)[:, None, :].expand(12, 3, 20), (12, 20)),
    "padded": (lambda x: F.pad(x.t() + 1, (0, 3)).t(), (12, 20)),
    "padded_rows": (lambda x: F.pad(x, (0, 0, 0, 3)), (12, 20)),
    "sliced": (lambda x: torch.exp(x)[:, ::2], (12, 20)),
    "sliced_input": (lambda x: x[2:9, 1:7], (12, 20)),
    "channels_last": (
        lambda x: F.relu(x.to(memory_format=torch.channels_last)),
        (2, 3, 4, 5),
    ),
    "channels_last_permute": (lambda x: (x.permute(0, 2, 3, 1) + 1).permute(0, 3, 1, 2), (2, 3, 4, 5)),
    "reduced": (lambda x: (x.t() - x.t().mean(0)).t(), (12, 20)),
    "reduced_keepdim": (lambda x: x.sum(0, keepdim=True).t(), (12, 20)),
    "layer_norm": (lambda x: F.layer_norm(x.t(), (x.shape[0],)).t(), (12, 20)),
    "softmax": (lambda x: x.t().softmax(0).t(), (12, 20)),
    "concatenated": (lambda x: torch.cat([x.t(), x.t() * 2]).t(), (12, 20)),
}


def stride_case(feed: str) -> None:
    produce, shape = FEEDS[feed]
    ops = [
        define(f"strides_{feed}_{kind}(Tensor x) -> Tensor", contiguous, empty, tags)
        for kind, tags in TAGS.items()
    ]

    def model(*inputs: Any) -> Any:
        return [op(produce(inputs[i])) for i, op in enumerate(ops)]

    compiled(model, [torch.randn(shape) for _ in ops])


# --- other kinds of ops and compiles -------------------------------------------------------------------------


def demo_case() -> None:
    ops = define_ops(library, "demo", strides, DEVICE)
    compiled(decoder(ops, 3), tensors(DEVICE))


def mutable_case() -> None:
    def accumulate(into: Any, x: Any) -> None:
        into.add_(x)

    op = define("mutable(Tensor(a!) into, Tensor x) -> ()", accumulate, lambda into, x: None)
    both = define(
        "mutable_and_returns(Tensor(a!) into, Tensor x, Tensor(b!)? other=None) -> Tensor",
        lambda into, x, other=None: into.add_(x) * 2,
        lambda into, x, other=None: empty(x),
    )

    def model(x: Any, y: Any) -> Any:
        into = torch.sin(x)
        op(into, y.t())
        view = into[2:, :]
        out = both(view, y.t()[2:, :])
        op(y, into.t())
        return into, out, y

    compiled(model, [torch.randn(6, 6), torch.randn(6, 6)])


def multiple_outputs_case() -> None:
    split = define(
        "split_in_three(Tensor x, Tensor[] more) -> (Tensor, Tensor, Tensor[])",
        lambda x, more: (contiguous(x), x.sum(0), [contiguous(m) for m in more]),
        lambda x, more: (empty(x), x.new_empty(x.shape[1:]), [empty(m) for m in more]),
    )

    def model(x: Any, y: Any) -> Any:
        first, second, rest = split(torch.relu(x), [y.t(), (x @ y).t()])
        return first + second, [r.t() + 1 for r in rest]

    compiled(model, [torch.randn(6, 6), torch.randn(6, 6)])


def arguments_case() -> None:
    op = define(
        "all_kinds(Tensor x, int[] dims, float scale=1.0, *, str mode, bool flag=False, ScalarType? dtype=None, "
        "Device? device=None, Tensor? bias=None, Scalar s=2) -> Tensor",
        lambda x, dims, scale=1.0, **more: x * scale,
        lambda x, dims, scale=1.0, **more: empty(x),
    )

    def model(x: Any) -> Any:
        return op(x + 1, [0, 1], 0.5, mode="a", dtype=torch.float16, bias=x.t() * 2, s=3) + 1

    compiled(model, [torch.randn(4, 4)])


def dynamic_case() -> None:
    op = define(
        "dynamic(Tensor x, SymInt rows, SymInt[] shape) -> Tensor",
        lambda x, rows, shape: (x * rows).contiguous(),
        lambda x, rows, shape: empty(x),
    )

    def model(x: Any, y: Any) -> Any:
        z = torch.cat([x, y]).t() * (2 if x.shape[0] + 1 < y.shape[0] * 2 else 3)
        return op(z.t(), z.shape[1] // 2, [x.shape[0] + y.shape[0], z.shape[0] * 3]).relu()

    compiled(model, [torch.randn(5, 8), torch.randn(7, 8)], dynamic=True)


def training_case() -> None:
    backward = define(
        "scale_backward(Tensor g, Tensor x) -> Tensor", lambda g, x: contiguous(g * x), lambda g, x: empty(x)
    )
    forward = define("scale(Tensor x) -> Tensor", lambda x: contiguous(x * x / 4), empty)

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            below = torch._C._AutoDispatchBelowAutograd()  # PyTorch 2.0: no context manager yet
            result = forward(x)
            del below
            return result

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return backward(g, ctx.saved_tensors[0])

    # Dynamo of PyTorch 2.0 refuses an autograd.Function; so it stands behind the dispatcher.
    library.impl("scale", Scale.apply, "Autograd")

    def model(x: Any, w: Any) -> Any:
        return forward((x @ w).t()).t().softmax(-1).sum(0)

    x, w = (torch.randn(6, 6, requires_grad=True) for _ in range(2))
    compiled(model, [x, w], backward=True)


def decomposition_case(name: str = "decomposable") -> None:
    op = define(f"{name}(Tensor x) -> Tensor", contiguous, empty)
    torch._decomp.register_decomposition(op)(lambda x: x * 2)
    compiled(lambda x: op((x.t() + 1).t()), [torch.randn(5, 7)])


def decomposition_in_ci_case() -> None:
    with unittest.mock.patch.dict(os.environ, CI="true"):
        decomposition_case("decomposable_in_ci")


def subgraph_case() -> None:
    op = define("in_branch(Tensor x) -> Tensor", contiguous, empty)

    def model(x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda x: op((x.t() * 3).t()), lambda x: op(x.cos()), (x,))

    compiled(model, [torch.randn(5, 7)])


def own_lowering_case() -> None:
    op = define("has_lowering(Tensor x) -> Tensor", contiguous, empty)
    lowering.register_lowering(op, type_promotion_kind=None)(
        lambda x: (
            lowering.mul(x, lowering.constant_like(2)(x))
            if hasattr(lowering, "constant_like")
            else lowering.add(x, x)
        )
    )
    compiled(lambda x: op(x.t()).t() + 1, [torch.randn(5, 7)])


def no_implicit_fallbacks_case() -> None:
    op = define("refused(Tensor x) -> Tensor", contiguous, empty)
    with inductor_config.patch(implicit_fallbacks=False):
        compiled(lambda x: op(x.cos()), [torch.randn(5, 7)])


def no_implicit_fallbacks_decomposition_case() -> None:
    op = define("refused_decomposable(Tensor x) -> Tensor", contiguous, empty)
    torch._decomp.register_decomposition(op)(lambda x: x * 2)
    with inductor_config.patch(implicit_fallbacks=False):
        compiled(lambda x: op(x.cos()), [torch.randn(5, 7)])


def failing_lowering_case() -> None:
    op = define("failing(Tensor x) -> Tensor", contiguous, empty)

    def fail(x: Any) -> Any:
        raise ArithmeticError("on purpose")

    lowering.register_lowering(op, type_promotion_kind=None)(fail)
    compiled(lambda x: op(x.cos()), [torch.randn(5, 7)])


CASES: dict[str, Any] = {
    **{f"strides_{feed}": (lambda feed=feed: stride_case(feed)) for feed in FEEDS},
    "demo": demo_case,
    "mutable": mutable_case,
    "multiple_outputs": multiple_outputs_case,
    "arguments": arguments_case,
    "dynamic_shapes": dynamic_case,
    "training": training_case,
    "decomposition": decomposition_case,
    "decomposition_in_ci": decomposition_in_ci_case,
    **({"subgraph": subgraph_case} if hasattr(torch, "cond") else {}),  # from 2.2 on
    "own_lowering": own_lowering_case,
    "no_implicit_fallbacks": no_implicit_fallbacks_case,
    "no_implicit_fallbacks_decomposition": no_implicit_fallbacks_decomposition_case,
    "failing_lowering": failing_lowering_case,
}


# --- compiling and writing down ------------------------------------------------------------------------------

found: dict[str, Any] = {}


def compiled(model: Any, inputs: Any, dynamic: bool = False, backward: bool = False) -> None:
    """Run ``model`` in eager and compiled, and leave what was seen in :data:`found`."""

    def outcome(run: Any) -> Any:
        leaves = [x.detach().to(DEVICE, copy=True).requires_grad_(x.requires_grad) for x in inputs]
        out = run(*leaves)
        if backward:
            out.pow(2).sum().backward()
        flat, _ = torch.utils._pytree.tree_flatten((out, leaves, [x.grad for x in leaves]))
        return [t.detach().clone() for t in flat if isinstance(t, torch.Tensor)]

    expected = outcome(model)
    for seen in (strides, code, shape_envs):
        seen.clear()
    found.update(equal=None, error=None)
    try:
        result = outcome(torch.compile(model, fullgraph=True, dynamic=dynamic))
    except Exception as error:
        found["error"] = [type(e).__name__ for e in (error, error.__cause__) if e is not None]
        found["message"] = str(error)
    else:
        found["equal"] = all(
            torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(result, expected, strict=True)
        )
    found.update(
        code=list(code),
        strides=list(strides),
        guards=[str(guard.expr) for env in shape_envs for guard in env.guards],
        constraints={
            # PyTorch 2.4 records a functools.partial.
            str(op): getattr(getattr(constraint, "func", constraint), "__name__", str(constraint))
            for op, constraint in LAYOUT_CONSTRAINTS.items()
            if str(op).startswith(NAMESPACE)
        },
    )


def record_shape_envs() -> None:
    original = ShapeEnv.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        shape_envs.append(self)

    ShapeEnv.__init__ = init


class Texts(logging.Handler):
    """Formats what is logged, as a real handler would, and keeps the implicit fallbacks."""

    texts: list[str]

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Creating implicit fallback"):
            self.texts.append(message)


def main(mode: str, output: str) -> None:
    write_scalar_code()
    handler = Texts()
    if mode == "plain":
        install_plain_set_proxy(NAMESPACE)
    elif mode != "stock":
        import lowering_hooks
        from lowering_hooks.hooks import limit, writing

        bounded_ir: Literal["auto", True] = True if mode == "bounded_ir" else "auto"
        lowering_hooks.bounded_ir(bounded_ir)
        status = lowering_hooks.apply("set_proxy" if mode == "set_proxy" else "call_function")
        assert (status.state, status.bounded_ir) == ("active", bounded_ir), status
        if mode == "cut":
            # Small models have small texts: this has every text of the namespace, which nobody allowed, cut.
            limit.MAX_CHARACTERS = writing.MAX_CHARACTERS = 300  # type: ignore[misc]
        else:
            lowering_hooks.allow(NAMESPACE)
        # Let every release build the text, also those that build it lazily: it is what could do harm.
        log_to(handler, logging.DEBUG if mode in ("bounded_ir", "cut") else logging.INFO)
    capture_code(code)
    record_shape_envs()
    results = {}
    for name, case in CASES.items():
        found.clear()
        handler.texts = []
        torch._dynamo.reset()
        torch.manual_seed(0)
        try:
            case()
        except Exception:
            found["broken"] = traceback.format_exc()
        results[name] = {**found, "texts": handler.texts}
    Path(output).write_text(json.dumps({"torch": torch.__version__, "cases": results}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
