"""Errors of templates, in the nested lists that users of this format know."""

from typing import Literal

from talos.config.forbidden import error_list

Stage = Literal["load", "validate", "translate"]


class TemplateError(ValueError):
    """A template that cannot be used. ``stage`` says how far it came."""

    def __init__(self, stage: Stage, text: str) -> None:
        super().__init__(text)
        self.stage = stage


def within(what: str, errors: list[str]) -> list[str]:
    """The errors as a single one that names what they are about; nothing if there are none."""
    return [f"{what}: {error_list(errors)}"] if errors else []


def quoted(text: str) -> str:
    """A name in double quotes, with what would not print escaped."""
    escaped = "".join(
        {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
        or (char if char.isprintable() else f"\\u{ord(char):04x}")
        for char in text
    )
    return f'"{escaped}"'
