"""The value of a CEL expression: what chooses one disk among those a machine has.

For expressions that `problem` finds nothing wrong with. Numbers are Python's, so nothing overflows; functions on times
are left out, since nothing that is selected has any.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from talos.config.cel.environments import MESSAGES
from talos.config.cel.parse import Node, Parser

UNITS = {f"{prefix}{unit}": base**power for unit, base, prefixes in (("iB", 1024, "KMGTPE"), ("B", 1000, "kMGTPE"))
         for power, prefix in enumerate(prefixes, 1)}  # fmt: skip
"""Constants that sizes are written with."""

_DISK = MESSAGES["talos.resource.definitions.block.DiskSpec"]
_EMPTY = {"uint": 0, "bool": False, "string": ""}


class EvaluationError(ValueError):
    """The expression has no value here, e.g. it divides by zero."""


def select_disk(expression: str, disk: Mapping[str, Any], system_disk: bool) -> bool:
    """Whether a disk selector matches a disk, given by the fields of Talos' DiskSpec; absent ones are empty.

    Raises EvaluationError, and SyntaxProblem for text that is no expression.
    """
    known = {name: disk.get(name, _EMPTY.get(str(type_), [])) for name, type_ in _DISK.items()}
    return bool(_value(Parser(expression).parse(), {"disk": known, "system_disk": system_disk, **UNITS}))


def _value(node: Node, names: Mapping[str, Any]) -> Any:
    match node.kind:
        case "literal":
            return _literal(node)
        case "ident":
            if node.value not in names:
                raise EvaluationError(f"{node.value} has no value")
            return names[node.value]
        case "select":
            assert node.target is not None
            return _field(_value(node.target, names), node.value)
        case "has":
            selected = node.arguments[0]
            assert selected.target is not None
            return bool(_field(_value(selected.target, names), selected.value))
        case "list":
            return [_value(item, names) for item in node.arguments]
        case "map":
            pairs = zip(node.arguments[::2], node.arguments[1::2], strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs}
    return _call(node, names)


def _literal(node: Node) -> Any:
    text = node.text
    match node.value:
        case "int" | "uint":
            digits = text.rstrip("uU")
            return int(digits, 16) if "x" in digits else int(digits)
        case "double":
            return float(text)
        case "string":
            return ast.literal_eval(text)
        case "bool":
            return text == "true"
        case "null_type":
            return None
    raise EvaluationError(f"{node.value} literals have no use here")


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping) or name not in value:
        raise EvaluationError(f"there is no field {name}")
    return value[name]


def _call(node: Node, names: Mapping[str, Any]) -> Any:
    if node.value == "_&&_":
        return _both(node.arguments, names, deciding=False)
    if node.value == "_||_":
        return _both(node.arguments, names, deciding=True)
    if node.value == "_?_:_":
        condition, yes, no = node.arguments
        return _value(yes if _value(condition, names) else no, names)
    if node.target is not None and node.value in _MACROS:
        return _macro(node, names)
    arguments = [_value(item, names) for item in node.arguments]
    if node.target is not None:
        arguments.insert(0, _value(node.target, names))
    function = _FUNCTIONS.get(node.value)
    if function is None:
        raise EvaluationError(f"{node.value} has no use here")
    try:
        return function(*arguments)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, KeyError, re.error) as error:
        raise EvaluationError(f"{node.value}: {error}") from None


def _both(operands: tuple[Node, ...], names: Mapping[str, Any], deciding: bool) -> bool:
    """`&&` and `||`: a side that decides alone does so even when the other has no value."""
    problem: EvaluationError | None = None
    for operand in operands:
        try:
            if bool(_value(operand, names)) is deciding:
                return deciding
        except EvaluationError as error:
            problem = error
    if problem:
        raise problem
    return not deciding


_MACROS = frozenset(("all", "exists", "exists_one", "existsOne", "filter", "map"))


def _macro(node: Node, names: Mapping[str, Any]) -> Any:
    assert node.target is not None
    variable, *bodies = node.arguments
    items = list(_value(node.target, names))

    def of(body: Node, item: Any) -> Any:
        return _value(body, {**names, variable.value: item})

    match node.value:
        case "all":
            return all(of(bodies[0], item) for item in items)
        case "exists":
            return any(of(bodies[0], item) for item in items)
        case "filter":
            return [item for item in items if of(bodies[0], item)]
        case "map":
            kept = items if len(bodies) == 1 else [item for item in items if of(bodies[0], item)]
            return [of(bodies[-1], item) for item in kept]
    return sum(bool(of(bodies[0], item)) for item in items) == 1


def _divide(left: Any, right: Any) -> Any:
    """Whole numbers are cut towards zero, as in CEL."""
    if isinstance(left, float):
        return left / right
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _glob(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "!_": operator.not_,
    "-_": operator.neg,
    "_==_": operator.eq,
    "_!=_": operator.ne,
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "@in": lambda item, container: item in container,
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_/_": _divide,
    "_%_": lambda left, right: left - right * _divide(left, right),
    "_[_]": operator.getitem,
    "size": len,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "contains": lambda text, part: part in text,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "glob": _glob,
    "int": int,
    "uint": int,
    "double": float,
    "string": str,
    "dyn": lambda value: value,
}
