"""Test vectors: inputs with the outputs of the reference libraries, checked kind by kind.

A folder of vectors holds one JSON file per kind (its README says how each was made). The checker of a kind is the
module of the same name in this package, with two functions:

``cases(data, folder)`` yields ``(name, case)`` for every record of the parsed file; ``folder`` is there for the kinds
that refer to a second file.

``check(case)`` returns None when our code agrees with the case, else one text that says what differs. An exception
counts as a difference too.

A kind without a checker is reported as not checked.
"""

import importlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

DEFAULT_FOLDER = Path(__file__).parents[2] / "vectors"


@dataclass
class Outcome:
    """How one kind fared: the number of cases, and what differs by case name."""

    kind: str
    total: int = 0
    differences: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        return self.total - len(self.differences)


def kinds(folder: Path) -> list[str]:
    """The kinds present in a folder of vectors, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.json"))


def checker(kind: str) -> ModuleType | None:
    """The module that checks a kind, or None when nobody has written it yet."""
    name = f"{__name__}.{kind}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def load_cases(module: ModuleType, kind: str, folder: Path) -> Iterator[tuple[str, dict]]:
    """The named cases of a kind; names that repeat get a number, so that each can be told apart."""
    data = json.loads((folder / f"{kind}.json").read_text())
    seen: dict[str, int] = {}
    named: Iterable[tuple[str, dict]] = module.cases(data, folder)
    for name, case in named:
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name}#{seen[name]}"), case


def difference(module: ModuleType, case: dict) -> str | None:
    """What differs in one case, None if nothing does."""
    try:
        return module.check(case)
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text}"


def run(module: ModuleType, kind: str, folder: Path) -> Outcome:
    """Check every case of a kind."""
    outcome = Outcome(kind)
    for name, case in load_cases(module, kind, folder):
        outcome.total += 1
        if (found := difference(module, case)) is not None:
            outcome.differences[name] = found
    return outcome


def unequal(what: str, got: object, want: object) -> str | None:
    """The one-line difference between two values, or None: for checkers that compare several things."""
    return None if got == want else f"{what}: got {got!r}, want {want!r}"
