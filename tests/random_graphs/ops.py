"""Lists the kinds of custom ops: their tags, arguments, outputs and what they have beside a kernel.

Needs no PyTorch.  An op is a dict of JSON, :func:`schema` writes its schema, and ``model`` defines it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Op = dict[str, Any]

# Names the tags that an op can have.  A series that does not know one defines the op without it.
TAGS = (
    "needs_fixed_stride_order",
    "needs_exact_strides",
    "needs_contiguous_strides",
    "flexible_layout",
    "pt2_compliant_tag",
    "core",
    "maybe_aliasing_or_mutating",
)


class Returned(NamedTuple):
    """What an op returns.

    Attributes:
        schema: The type in its schema.
        call: The statement that calls it; ``{call}`` is the call, ``{a}`` and ``{b}`` are new names, and ``{x}`` is
            the first tensor that it takes.
        values: Which of ``{a}`` and ``{b}`` are tensors afterwards, with their shapes: as that of the first tensor,
            or flat.
    """

    schema: str
    call: str
    values: dict[str, str]


RETURNS: dict[str, Returned] = {
    "Tensor": Returned("Tensor", "{a} = {call}", {"a": "same"}),
    "Tensor like its argument": Returned("Tensor", "{a} = {call}", {"a": "same"}),
    "tuple": Returned("(Tensor, Tensor)", "{a}, {b} = {call}", {"a": "same", "b": "flat"}),
    "Tensor[]": Returned("Tensor[]", "{a}, {b} = {call}", {"a": "same", "b": "flat"}),
    "Tensor and Tensor[]": Returned("(Tensor, Tensor[])", "{a}, ({b},) = {call}", {"a": "same", "b": "flat"}),
    "nothing": Returned("()", "{call}", {}),
    "Tensor and SymInt": Returned("(Tensor, SymInt)", "{a}, {b} = {call}", {"a": "same"}),
    "Tensor?": Returned("(Tensor, Tensor?)", "{a}, {b} = {call}", {"a": "same"}),
    "undeclared view": Returned("Tensor", "{a} = {call}", {"a": "same"}),
}
# PyTorch refuses these before Inductor sees them: they are drawn seldom.
REFUSED: dict[str, Returned] = {
    "SymInt": Returned("SymInt", "{a} = {x} * {call}", {"a": "same"}),
    "int": Returned("int", "{a} = {x} * {call}", {"a": "same"}),
    "bool": Returned("bool", "{a} = {x} * {call}", {"a": "same"}),
    "view": Returned("Tensor(a)", "{a} = {call}", {"a": "same"}),
}


class Argument(NamedTuple):
    """An argument beside the first tensor.

    Attributes:
        schema: How the schema declares it.
        value: What is handed over; ``{x}`` is the first tensor, ``{y}`` another.  Empty: its default is taken.
        is_keyword: Whether it is keyword-only.
    """

    schema: str
    value: str
    is_keyword: bool = False


# Required ones come first, as a schema wants them.
ARGUMENTS: dict[str, Argument] = {
    "Tensor": Argument("Tensor other", "{y}"),
    "Tensor[]": Argument("Tensor[] more", "[{y}, {x}]"),
    "Tensor?[]": Argument("Tensor?[] some", "[None, {y}]"),
    "int": Argument("int n", "2"),
    "int[]": Argument("int[] dims", "[0, 1]"),
    "SymInt": Argument("SymInt rows", "{x}.shape[0]"),
    "SymInt[]": Argument("SymInt[] sizes", "[{x}.shape[0], {x}.shape[-1] * 3]"),
    "float": Argument("float scale=1.0", "0.5"),
    "bool by default": Argument("bool flag=False", ""),
    "Tensor?": Argument("Tensor? bias=None", "{y}"),
    "Tensor? of None": Argument("Tensor? none=None", ""),
    "keyword str": Argument("str mode", '"fast"', is_keyword=True),
    "keyword Scalar": Argument("Scalar s=2", "3", is_keyword=True),
    "keyword ScalarType": Argument("ScalarType? dtype=None", "torch.float16", is_keyword=True),
    "keyword Device": Argument("Device? device=None", "", is_keyword=True),
    "keyword Tensor": Argument("Tensor? weight=None", "{y}", is_keyword=True),
}

# An op that changes an argument returns one of these, or PyTorch refuses it.
BESIDE_A_CHANGE = ("nothing", "Tensor", "Tensor like its argument", "tuple")

# What an op has beside its kernel; the empty string is an op that Inductor knows nothing of.
HAS = (
    "",
    "decomposition",
    "own lowering",
    "failing lowering",
    "entry in the allow list",
    "own constraint",
    "own fallback",
)


def returned(op: Op) -> Returned:
    """Return what ``op`` returns."""
    return (RETURNS | REFUSED)[op["returns"]]


def schema(op: Op, name: str) -> str:
    """Return the schema of ``op``, called ``name``."""
    first = "Tensor[] x" if op["takes"] == "Tensor[]" else "Tensor x"
    if op["mutates"]:
        first = "Tensor(a!) x"
    elif op["returns"] == "view":
        first = "Tensor(a) x"
    arguments = [ARGUMENTS[argument] for argument in ARGUMENTS if argument in op["arguments"]]
    positional = [argument.schema for argument in arguments if not argument.is_keyword]
    keywords = [argument.schema for argument in arguments if argument.is_keyword]
    keywords.sort(key=lambda declared: "=" in declared)
    declared = ", ".join([first, *positional, *(["*"] if keywords else []), *keywords])
    return f"{name}({declared}) -> {returned(op).schema}"


def call(op: Op, function: str, x: str, y: str) -> str:
    """Return the expression that calls ``function`` with the tensors ``x`` and ``y``."""
    given = [f"[{x}, {y}]" if op["takes"] == "Tensor[]" else x]
    for name, argument in ARGUMENTS.items():
        if name in op["arguments"] and argument.value:
            value = argument.value.format(x=x, y=y)
            # By its name, since one with a default that is not handed over may stand before it.
            by_name = argument.is_keyword or "=" in argument.schema
            given.append(f"{argument.schema.split('=')[0].split()[-1]}={value}" if by_name else value)
    return f"{function}({', '.join(given)})"
