"""The syntax of CEL: text to a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_QUOTED = r"""(?:'{3}(?:[^\\]|\\.)*?'{3}|"{3}(?:[^\\]|\\.)*?"{3}|'(?:[^'\\\n\r]|\\.)*'|"(?:[^"\\\n\r]|\\.)*")"""
_RAW = r"""[rR](?:'{3}.*?'{3}|"{3}.*?"{3}|'[^'\n\r]*'|"[^"\n\r]*")"""
_EXPONENT = "[eE][+-]?[0-9]+"
_TOKEN = re.compile(
    "|".join(
        (
            r"(?P<space>[ \t\r\n\f]+|//[^\n]*)",
            rf"(?P<double>[0-9]+\.[0-9]+(?:{_EXPONENT})?|[0-9]+{_EXPONENT}|\.[0-9]+(?:{_EXPONENT})?)",
            "(?P<uint>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])",
            "(?P<int>0x[0-9a-fA-F]+|[0-9]+)",
            f"(?P<bytes>[bB](?:{_RAW}|{_QUOTED}))",
            f"(?P<string>{_RAW}|{_QUOTED})",
            "(?P<ident>[A-Za-z_][A-Za-z0-9_]*)",
            r"(?P<op>==|!=|<=|>=|&&|\|\||[<>()\[\]{}.,\-!?:+*/%])",
        )
    ),
    re.DOTALL,
)
_OPERAND = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
_RELATIONS = frozenset(("<", "<=", ">=", ">", "==", "!=", "in"))
_RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"),
        *("package", "namespace", "return", "var", "void", "while"),
    )
)


class SyntaxProblem(ValueError):
    """Text that is no expression; `problems` are pairs of position and text."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__(problems[0][1])
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Node:
    """A tree node: `kind` is literal, ident, select, call, list, map or has.

    `value` is the literal's type, the identifier, the field, or the function; `target` the receiver; `text` a literal
    as it is written.
    """

    kind: str
    position: int
    value: str = ""
    target: Node | None = None
    arguments: tuple[Node, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


class Parser:
    """Parses one expression."""

    def __init__(self, text: str) -> None:
        self._problems: list[tuple[int, str]] = []
        self._tokens = self._scan(text)
        self._index = 0

    def parse(self) -> Node:
        """The tree. Raises SyntaxProblem."""
        tree = self._expression()
        if self._token.kind != "end":
            following = self._tokens[self._index + 1]
            what = "extraneous" if following.kind == "end" else "mismatched"
            self._fail(f"{what} input '{self._token.text}' expecting <EOF>")
        if self._problems:
            raise SyntaxProblem(self._problems)
        return tree

    def _scan(self, text: str) -> list[_Token]:
        tokens = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                end = self._unrecognised(text, position)
                self._problems.append((position, f"Syntax error: token recognition error at: '{text[position:end]}'"))
                position = end
                continue
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup or "", match.group(), position))
            position = match.end()
        return [*tokens, _Token("end", "<EOF>", len(text))]

    @staticmethod
    def _unrecognised(text: str, position: int) -> int:
        """Where the characters end that form no token."""
        if text[position] in "'\"":
            end = text.find("\n", position)
            return len(text) if end < 0 else end + 1
        return min(len(text), position + (2 if text[position] in "=&|" else 1))

    @property
    def _token(self) -> _Token:
        return self._tokens[self._index]

    def _fail(self, text: str) -> Any:
        raise SyntaxProblem(sorted([*self._problems, (self._token.position, f"Syntax error: {text}")]))

    def _next(self) -> _Token:
        token = self._token
        self._index += 1
        return token

    def _accept(self, *texts: str) -> _Token | None:
        if self._token.text in texts and self._token.kind in ("op", "ident"):
            return self._next()
        return None

    def _expect(self, text: str) -> _Token:
        if token := self._accept(text):
            return token
        if self._token.kind == "end" and text == ")":
            return self._fail("missing ')' at '<EOF>'")
        if text == "]":
            return self._fail(f"mismatched input '{self._token.text}' expecting {{']', ','}}")
        return self._fail(f"mismatched input '{self._token.text}' expecting '{text}'")

    def _expression(self) -> Node:
        condition = self._or()
        if question := self._accept("?"):
            then = self._or()
            self._expect(":")
            return Node("call", question.position, "_?_:_", None, (condition, then, self._expression()))
        return condition

    def _binary(self, operand: Any, *operators: str) -> Node:
        left: Node = operand()
        while token := self._accept(*operators):
            function = "@in" if token.text == "in" else f"_{token.text}_"
            left = Node("call", token.position, function, None, (left, operand()))
        return left

    def _or(self) -> Node:
        return self._binary(self._and, "||")

    def _and(self) -> Node:
        return self._binary(self._relation, "&&")

    def _relation(self) -> Node:
        return self._binary(self._sum, *_RELATIONS)

    def _sum(self) -> Node:
        return self._binary(self._product, "+", "-")

    def _product(self) -> Node:
        return self._binary(self._unary, "*", "/", "%")

    def _unary(self) -> Node:
        token = self._accept("!", "-")
        if token is None:
            return self._member()
        count = 1
        while self._accept(token.text):
            count += 1
        operand = self._member()
        if count % 2 == 0:
            return operand
        if token.text == "-" and operand.kind == "literal" and operand.value in ("int", "double"):
            return Node("literal", token.position, operand.value, text=f"-{operand.text}")
        return Node("call", token.position, "!_" if token.text == "!" else "-_", None, (operand,))

    def _member(self) -> Node:
        node = self._primary()
        while token := self._accept(".", "["):
            optional = self._accept("?") is not None
            if token.text == "[":
                index = self._expression()
                self._expect("]")
                node = Node("call", token.position, "_[?_]" if optional else "_[_]", None, (node, index))
                continue
            if self._token.kind != "ident":
                self._fail(f"mismatched input '{self._token.text}' expecting IDENTIFIER")
            field = self._next()
            if parenthesis := self._accept("("):
                node = self._call(field.text, parenthesis, node)
            else:
                node = Node("select", token.position, f"?{field.text}" if optional else field.text, node)
        return node

    def _call(self, function: str, parenthesis: _Token, target: Node | None) -> Node:
        arguments = self._arguments(")")
        self._expect(")")
        if function == "has" and target is None and len(arguments) == 1 and arguments[0].kind == "select":
            return Node("has", parenthesis.position, "", None, arguments)
        return Node("call", parenthesis.position, function, target, arguments)

    def _arguments(self, end: str) -> tuple[Node, ...]:
        arguments: list[Node] = []
        while self._token.text != end:
            self._accept("?")
            arguments.append(self._expression())
            if not self._accept(","):
                break
        return tuple(arguments)

    def _primary(self) -> Node:
        token = self._token
        if token.kind in ("int", "uint", "double", "string", "bytes"):
            return Node("literal", self._next().position, token.kind, text=token.text)
        if token.kind == "ident" and token.text not in _RESERVED and token.text != "in":
            self._next()
            literal = {"true": "bool", "false": "bool", "null": "null_type"}.get(token.text)
            if literal:
                return Node("literal", token.position, literal, text=token.text)
            if parenthesis := self._accept("("):
                return self._call(token.text, parenthesis, None)
            return Node("ident", token.position, token.text)
        if self._accept("("):
            inner = self._expression()
            self._expect(")")
            return inner
        if bracket := self._accept("["):
            items = self._arguments("]")
            self._expect("]")
            return Node("list", bracket.position, "", None, items)
        if brace := self._accept("{"):
            return self._map(brace)
        if self._accept("."):
            return self._primary()
        if token.text in _RESERVED:
            raise SyntaxProblem([*self._problems, (token.position, f"reserved identifier: {token.text}")])
        following = self._tokens[self._index + 1] if token.kind != "end" else token
        what = (
            "extraneous" if following.kind not in ("op", "end") or following.text in ("(", "[", "{") else "mismatched"
        )
        return self._fail(f"{what} input '{token.text}' expecting {_OPERAND}")

    def _map(self, brace: _Token) -> Node:
        entries: list[Node] = []
        while self._token.text != "}":
            self._accept("?")
            entries.append(self._expression())
            self._expect(":")
            entries.append(self._expression())
            if not self._accept(","):
                break
        self._expect("}")
        return Node("map", brace.position, "", None, tuple(entries))
