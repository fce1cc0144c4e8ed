"""The types of CEL expressions."""

from __future__ import annotations

from talos.config.cel.environments import MESSAGES, Environment
from talos.config.cel.functions import Overload
from talos.config.cel.parse import Node
from talos.config.cel.types import DYN, ERROR, Bindings, Type, list_of, map_of, matches, name, optional, substitute

_MACROS = frozenset(("all", "exists", "exists_one", "existsOne", "filter", "map"))


class Checker:
    """Finds the type of a tree; `problems` are pairs of position and text."""

    def __init__(self, environment: Environment) -> None:
        self.problems: list[tuple[int, str]] = []
        self._environment = environment
        self._locals: dict[str, Type] = {}

    def check(self, node: Node) -> Type:
        """The type of the node; `dyn` or an error type where it cannot be told."""
        match node.kind:
            case "literal":
                return node.value
            case "ident":
                return self._ident(node)
            case "select":
                return self._select(node)
            case "has":
                selected = node.arguments[0]
                assert selected.target is not None
                self._field(node, self.check(selected.target), selected.value)
                return "bool"
            case "list":
                return list_of(self._joined([self.check(item) for item in node.arguments]))
            case "map":
                keys = self._joined([self.check(key) for key in node.arguments[::2]])
                return map_of(keys, self._joined([self.check(value) for value in node.arguments[1::2]]))
        return self._call(node)

    def _problem(self, node: Node, text: str) -> Type:
        self.problems.append((node.position, text))
        return ERROR

    @staticmethod
    def _joined(types: list[Type]) -> Type:
        return types[0] if types and all(type_ == types[0] for type_ in types) else DYN

    def _ident(self, node: Node) -> Type:
        type_ = self._locals.get(node.value) or self._environment.variable(node.value)
        return type_ or self._problem(node, f"undeclared reference to '{node.value}' (in container '')")

    def _select(self, node: Node) -> Type:
        assert node.target is not None
        target = self.check(node.target)
        wants_optional = node.value.startswith("?")
        if isinstance(target, tuple) and target[0] == "optional_type":
            wants_optional = True
            target = target[1]  # type: ignore[assignment]
        field = self._field(node, target, node.value.removeprefix("?"))
        return optional(field) if wants_optional and field != ERROR else field

    def _field(self, node: Node, target: Type, field: str) -> Type:
        if target in (DYN, ERROR):
            return target
        if isinstance(target, str) and target in MESSAGES:
            return MESSAGES[target].get(field) or self._problem(node, f"undefined field '{field}'")
        if isinstance(target, tuple) and target[0] == "map":
            return target[2]  # type: ignore[return-value]
        return self._problem(node, f"type '{name(target)}' does not support field selection")

    def _call(self, node: Node) -> Type:
        if node.value in ("_&&_", "_||_"):
            for operand in node.arguments:
                type_ = self.check(operand)
                if type_ not in ("bool", DYN, ERROR):
                    self._problem(operand, f"expected type 'bool' but found '{name(type_)}'")
            return "bool"
        target = node.target
        if target is not None and node.value in _MACROS and node.arguments and node.arguments[0].kind == "ident":
            return self._macro(node, target)
        if target is not None and target.kind == "ident":
            qualified = f"{target.value}.{node.value}"
            if overloads := self._environment.function(qualified):
                return self._resolve(node, qualified, overloads, [self.check(item) for item in node.arguments])
        arguments = [self.check(item) for item in node.arguments]
        if target is None:
            overloads = self._environment.function(node.value)
        else:
            arguments.insert(0, self.check(target))
            overloads = self._environment.member(node.value)
        if overloads is None:
            return self._problem(node, f"undeclared reference to '{node.value}' (in container '')")
        return self._resolve(node, node.value, overloads, arguments)

    def _resolve(self, node: Node, function: str, overloads: list[Overload], arguments: list[Type]) -> Type:
        results: list[Type] = []
        for wanted, result in overloads:
            bindings: Bindings = {}
            if len(wanted) == len(arguments) and all(
                matches(w, actual, bindings) for w, actual in zip(wanted, arguments, strict=True)
            ):
                results.append(substitute(result, bindings))
        if results:
            return self._joined(results)
        if ERROR in arguments:
            return ERROR
        names = [name(type_) for type_ in arguments]
        shown = f"{names[0]}.({', '.join(names[1:])})" if node.target is not None else f"({', '.join(names)})"
        return self._problem(node, f"found no matching overload for '{function}' applied to '{shown}'")

    def _macro(self, node: Node, target: Node) -> Type:
        range_ = self.check(target)
        item: Type = DYN
        if isinstance(range_, tuple) and range_[0] in ("list", "map"):
            item = range_[1]  # type: ignore[assignment]
        elif range_ not in (DYN, ERROR):
            self._problem(
                target,
                f"expression of type '{name(range_)}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
        variable = node.arguments[0].value
        outer = self._locals
        self._locals = {**outer, variable: item}
        types = [self.check(argument) for argument in node.arguments[1:]]
        self._locals = outer
        if node.value == "map":
            return list_of(types[-1] if types else DYN)
        for argument, type_ in zip(node.arguments[1:], types, strict=True):
            if type_ not in ("bool", DYN, ERROR):
                self._problem(argument, f"expected type 'bool' but found '{name(type_)}'")
        return list_of(item) if node.value == "filter" else "bool"
