"""Makes the mutants of a module: copies of its source in which one place is another.

Most operators are those of cosmic-ray, and the others are what it lacks.
"""

from __future__ import annotations

import ast
import types
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, PythonNode, ReturnStmt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# `mutants` uses these of cosmic-ray.  Of the replacements of one comparison or calculation by another, those that
# are nearest: an off-by-one, and the opposite.
COSMIC_RAYS = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "FloorDiv_Mul", "Mod_Mul")
    ),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("BitAnd_BitOr", "BitOr_BitAnd")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE")),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in ("LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")
    ),
)


class DeleteStatement(Operator):  # type: ignore[misc]
    """Deletes an assignment, a call or a raise."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if getattr(node, "type", "") == "simple_stmt" and _does_something(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - cosmic-ray passes it
        first = node.children[0]
        node.children[0] = Keyword("pass", first.start_pos, prefix=first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("x = 1", "pass"), Example("raise x", "pass"), Example("f()", "pass"))


class ReturnNone(Operator):  # type: ignore[misc]
    """Returns None in the place of a value, but of False, which means the same to nearly all callers."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if isinstance(node, ReturnStmt) and node.children[1].get_code().strip() not in ("None", "False"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - cosmic-ray passes it
        node.children[1:] = [Keyword("None", node.children[1].start_pos, prefix=" ")]
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("return 1", "return None"),)


class DropArgument(Operator):  # type: ignore[misc]
    """Leaves out an argument that a call passes by name, or unpacks."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for child in _dispensable(node):
            yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        child = _dispensable(node)[index]
        if child.parent is not node or node.type != "arglist":  # the only argument
            at = node.children.index(child)
            node.children[at : at + 1] = []
            return node
        at = node.children.index(child)
        node.children[max(at - 1, 0) : max(at + 1, 2)] = []
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("f(x, y=1)", "f(x)"), Example("f(*x)", "f()"))


class DropOperand(Operator):  # type: ignore[misc]
    """Leaves out an operand of ``and`` and ``or``."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if getattr(node, "type", "") in ("and_test", "or_test"):
            for child in node.children[::2]:
                yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        del node.children[max(2 * index - 1, 0) : max(2 * index + 1, 2)]
        node.get_first_leaf().prefix = prefix
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("x and y and z", "y and z"), Example("x or y", "x", occurrence=1))


class InvertMembership(Operator):  # type: ignore[misc]
    """Replaces ``in`` by ``not in``, and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if getattr(node, "type", "") == "comparison":
            for child in node.children[1::2]:
                if child.get_code().split() in (["in"], ["not", "in"]):
                    yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        places = [at for at, child in enumerate(node.children) if child.get_code().split()[-1:] == ["in"]]
        now = node.children[places[index]]
        node.children[places[index]] = parso.parse(" in" if now.get_code().split()[0] == "not" else " not in")
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("x in y", "x not in y"), Example("x not in y", "x in y"))


class NegateCondition(Operator):  # type: ignore[misc]
    """Negates the condition of an ``elif``, and that of a comprehension, which AddNot leaves."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for at in self._places(node):
            yield node.children[at].start_pos, node.children[at].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        at = list(self._places(node))[index]
        condition = node.children[at].get_code().strip()
        node.children[at] = parso.parse(f" (not ({condition}))")
        return node

    @staticmethod
    def _places(node: Any) -> Iterator[int]:
        kind = getattr(node, "type", "")
        if kind == "comp_if":
            yield 1
        if kind == "if_stmt":
            yield from (
                at + 1 for at, child in enumerate(node.children) if getattr(child, "value", "") == "elif"
            )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("[x for x in y if z]", "[x for x in y if (not (z))]"),)


def _does_something(statement: Any) -> bool:
    if statement.type in ("raise_stmt", "expr_stmt"):
        return True
    return statement.type == "atom_expr" and statement.children[-1].type == "trailer"


def _dispensable(node: Any) -> list[Any]:
    """Return the arguments that DropArgument can leave out of ``node``."""
    if not isinstance(node, PythonNode):
        return []
    is_call = node.type == "trailer" and node.children[0].value == "("
    if not is_call and node.type != "arglist":
        return []
    return [child for child in node.children if getattr(child, "type", "") == "argument" and _is_named(child)]


def _is_named(argument: Any) -> bool:
    first, second = argument.children[:2]
    return getattr(second, "value", "") == "=" or getattr(first, "value", "") in ("*", "**")


OWN = (DeleteStatement, ReturnNone, DropArgument, DropOperand, InvertMembership, NegateCondition)


class Mutant(NamedTuple):
    """One mutant of a module.

    Attributes:
        function: The function or class that has the place, such as ``"Records.report"``; empty outside of any.
        line: The lines that are others in the mutant, as the module has them.
        mutant: What the mutant has in their place.
        number: Counts the mutants of equal function, line and mutant from 1.
        around: The function or method that has the place, as the module has it; empty outside of any.
        source: The source of the mutant.
    """

    function: str
    line: str
    mutant: str
    number: int
    around: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What is the same after an edit elsewhere in the module."""
        return self[:4]


def mutants(source: str) -> list[Mutant]:
    """Return the mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    ignored, functions = _ignored_lines_and_spans(tree), _functions(tree)
    found: dict[object, tuple[Position, str, str, str, str, str]] = {}
    original = _meaning(source)
    operators = [get_operator(f"core/{name}")() for name in COSMIC_RAYS] + [operator() for operator in OWN]
    for operator in operators:
        module = get_ast(source)
        positions = [start for node in ast_nodes(module) for start, _end in operator.mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            if any(first <= start <= last for first, last in ignored):
                continue
            mutated = mutate_code(source, operator, occurrence)
            meaning = None if mutated is None else _meaning(mutated)
            if meaning is None or meaning == original or meaning in found:
                continue
            first, last, name = _function_at(functions, start[0])
            around = "\n".join(source.splitlines()[first - 1 : last])
            found[meaning] = (start, name, *_difference(source, mutated), around, mutated)
    count: Counter[tuple[str, str, str]] = Counter()
    result = []
    for _start, function, line, mutant, around, mutated in sorted(found.values()):
        count[function, line, mutant] += 1
        result.append(Mutant(function, line, mutant, count[function, line, mutant], around, mutated))
    return result


def _meaning(source: str) -> object:
    """Return what Python runs, so that a mutant that is the same to it is left out; None where it is no Python."""
    try:
        return _of_code(compile(source, "mutant", "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return None


def _of_code(code: types.CodeType) -> object:
    consts = tuple(
        _of_code(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts
    )
    return (
        code.co_name,
        code.co_code,
        consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_flags,
    )


def _difference(source: str, mutated: str) -> tuple[str, str]:
    """Return the lines that are others, before and after."""
    old, new = source.splitlines(), mutated.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return _joined(old), _joined(new)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


Position = tuple[int, int]


def _ignored_lines_and_spans(tree: ast.Module) -> list[tuple[Position, Position]]:
    """Return where a mutant would tell nothing: annotations, types, slots, DEBUG lines, assertions of ``zip``."""
    # `_point` stands for the deletion of a statement: all that is mutated in it begins later.
    spans: list[tuple[Position, Position]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            spans.append(_span(node.annotation))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            spans.append(_span(node.returns))
        if isinstance(node, ast.keyword) and node.arg == "strict":
            spans.append(_span(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            spans += map(_point, _needed(node))
        if isinstance(node, ast.stmt) and _tells_nothing(node):
            spans.append(_span(node))
    return spans


def _needed(scope: ast.AST) -> list[ast.stmt]:
    """Return the only assignment of each name in a function or module: without it nothing after it would run."""
    stored: dict[str, list[ast.stmt]] = {}
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    stored.setdefault(target.id, []).append(node)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            stored.setdefault(node.target.id, []).extend([node, node])
    return [nodes[0] for nodes in stored.values() if len(nodes) == 1]


# `_tells_nothing` knows a statement by how it begins.
_BEGINNINGS = (
    "tell(logging.DEBUG,",
    "tell_later(logging.DEBUG,",
    "__slots__ =",
    "__all__ =",
    "if TYPE_CHECKING:",
)


def _tells_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" in ast.unparse(node.annotation) or node.value is None
    if isinstance(node, ast.Assign):
        value = ast.unparse(node.value)
        if value.startswith(("TypeVar(", "ParamSpec(", "Literal[")):
            return True
    if isinstance(node, ast.Raise):
        return False
    return ast.unparse(node).startswith(_BEGINNINGS)


def _span(node: Any) -> tuple[Position, Position]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _point(node: Any) -> tuple[Position, Position]:
    return (node.lineno, node.col_offset), (node.lineno, node.col_offset)


def _functions(tree: ast.Module) -> list[tuple[int, int, str]]:
    """Return the first and last line and the qualified name of each function and class, outermost first."""
    found: list[tuple[int, int, str]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}" if prefix else child.name
                first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                found.append((first, child.end_lineno or child.lineno, name))
            visit(child, name)

    visit(tree, "")
    return found


def _function_at(functions: list[tuple[int, int, str]], line: int) -> tuple[int, int, str]:
    inside = [function for function in functions if function[0] <= line <= function[1]]
    return inside[-1] if inside else (1, 0, "")
