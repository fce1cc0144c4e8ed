"""The documentation is true: links lead somewhere, files and commands it names exist, generated pages are current.

`python -m tests.omni.test_docs` writes docs/permissions.md anew.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from apps.access import spec, verbs
from apps.access.actor import ROLES
from apps.access.check import GOVERNED
from apps.access.methods import METHODS, SECRET_RESOURCES, need_of
from apps.access.policy import group_of
from omni.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
PERMISSIONS = ROOT / "docs" / "permissions.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("omni", "apps", "nodeagent", "kubespan", "talos", "tests", "docs", "static", "templates", ".ci")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}, which has no such heading"


def test_every_page_can_be_found() -> None:
    """Each page is linked from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", index.read_text())}
    assert {page for page in PAGES if page.parent != ROOT and page != index} <= linked


@pages
def test_named_files_exist(page: Path) -> None:
    known = set(repository())
    for name in re.findall(r"`([\w./-]+)`", page.read_text()):
        if re.search(r"\w\.(py|proto|go|html|js|css|md)$", name):
            assert any(path == name or path.endswith(f"/{name}") for path in known), f"{page.name} names {name}"
        elif re.match(rf"({'|'.join(ROOMS)})/[\w/-]*/$", name):
            assert (ROOT / name).is_dir(), f"{page.name} names the folder {name}"


@pages
def test_named_commands_exist(page: Path) -> None:
    for line in commands(page):
        command, words = main, shlex.split(line, comments=True)
        context = click.Context(main)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words[0])
            assert found, f"{page.name} names `omni {line}`, but there is no {words[0]}"
            command, words = found, words[1:]
        if command.name == "simulator":  # reads its options by itself
            continue
        known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
        for word in words:
            flag = word.partition("=")[0]
            assert not flag.startswith("-") or flag in known, f"{page.name} names `omni {line}`: no option {flag}"


@pages
def test_named_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


def test_permissions_are_current() -> None:
    current = PERMISSIONS.read_text() == permissions()
    assert current, "docs/permissions.md is not current; run: .venv/bin/python -m tests.omni.test_docs"


def test_every_verb_has_its_line() -> None:
    assert [verb for verb, _, _ in table()] == list(verbs.VERBS)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def repository() -> Iterator[str]:
    """Paths of all files, without what is generated or installed."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if "node_modules" not in path.parts and path.is_file():
                yield str(path.relative_to(ROOT))
    yield from (path.name for path in ROOT.iterdir() if path.is_file())


def commands(page: Path) -> Iterator[str]:
    """What follows `omni` wherever a page shows a command: at the start of a line of code, or inside a sentence."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    shown = re.findall(r"^(?:\w+=\S+ )*(?:timeout \d+ )?(?:\.venv/bin/)?omni (.*)$", blocks, re.MULTILINE)
    inside = re.findall(r"`(?:\.venv/bin/)?omni ((?:--?)?[a-z][^`]*)`", prose(page))
    for line in (*shown, *re.findall(r"\$\(omni ([^)]*)\)", blocks), *inside):
        yield re.split(r"\s[|>&]|\s\.\.\.", line)[0]


def table() -> list[tuple[str, str, str]]:
    """(verb, least role, remark) from the lines of the table in the code."""
    text = Path(verbs.__file__).read_text()
    lines = re.findall(r'^    "([a-z.-]+)": ([A-Z]+),(?:  # (.*))?$', text, re.MULTILINE)
    return [(verb, getattr(verbs, role), remark) for verb, role, remark in lines]


def permissions() -> str:
    """The text of docs/permissions.md."""
    lines = [
        "# Permissions",
        "",
        "Generated from `apps/access/verbs.py`, `apps/access/methods.py` and `apps/access/spec.py` by",
        "`python -m tests.omni.test_docs`. Each act has a verb, each verb the least role that may use it. Roles:",
        f"{', '.join(ROLES)}; each may do what those before it may. The audit and refusals name the same verbs.",
        "How it is checked: [tenancy.md](tenancy.md); how policies change it: [access.md](access.md#policies).",
        "",
        "[Verbs](#verbs) · [Talos methods](#talos-methods) · [Kubernetes](#kubernetes) · [Policies](#policies)",
        "",
        "## Verbs",
        "",
        f"Policies are about verbs of {', '.join(f'`{noun}.`' for noun in GOVERNED)}, object by object; all others are",
        "for the role in the organisation alone.",
        "",
        "| verb | " + " | ".join(ROLES) + " | remark |",
        "|---" * (len(ROLES) + 2) + "|",
    ]
    for verb, least, remark in table():
        lines.append(f"| `{verb}` | {' | '.join(marks(least))} | {remark} |")
    lines += [
        "",
        "## Talos methods",
        "",
        "Through the talosctl proxy, on a machine in a cluster. On a machine in no cluster or in maintenance mode the",
        f"least role is {verbs.OPERATOR}: its resources show the join token. Each call is made with the one Talos role",
        f"of its line. A method that is not here takes {need_of('').role} and is made as `{need_of('').talos_role}`.",
        f"Resources of the types {' and '.join(f'`{kind}`' for kind in sorted(SECRET_RESOURCES))} are shown",
        f"to an {verbs.OPERATOR} and above.",
        "",
        "| method | " + " | ".join(ROLES) + " | made as | changes |",
        "|---" * (len(ROLES) + 3) + "|",
        *(
            f"| `{method}` | {' | '.join(marks(need.role))} | `{need.talos_role}` | {'yes' if need.changes else ''} |"
            for method, need in METHODS.items()
        ),
        "",
        "## Kubernetes",
        "",
        "Who has a role in a cluster is there a member of its group, and of those that policies add; nobody of",
        "`system:masters`.",
        "",
        "| role there | group |",
        "|---|---|",
        *(f"| {role} | `{group_of(role)}` |" for role in ROLES),
        "",
        "## Policies",
        "",
        "The fields of a policy, beside `name` and `description`:",
        "",
        "| field | means |",
        "|---|---|",
        *(f"| `{field}` | {meaning} |" for field, meaning in spec.FIELDS.items()),
    ]
    return "\n".join(lines) + "\n"


def marks(least: str) -> list[str]:
    """For each role whether it is enough."""
    return ["yes" if ROLES.index(role) >= ROLES.index(least) else "" for role in ROLES]


if __name__ == "__main__":
    PERMISSIONS.write_text(permissions())
