"""The template editor: text in, problems with their lines and the plan with its effects out, then a sync."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from apps.access.check import Denied, allowed, allowed_somewhere, check
from apps.clusters import actions, queries, store, templates
from apps.clusters.decision import count
from apps.clusters.models import Cluster
from apps.clusters.templates import Review
from apps.dashboard.effects import effects, names_of
from apps.dashboard.example import example
from apps.dashboard.page import PageRequest, page, show
from apps.reconcile.conditions import State
from talos import template
from talos.template import Change, ExportError, TemplateError
from talos.template import resources as kinds
from talos.template.files import no_files

LONGEST = 1_000_000
"""Characters of a template that the page takes."""

WORDS = {
    kinds.CLUSTER: "Cluster",
    kinds.EXTENSIONS: "Extensions",
    kinds.CONFIG_PATCH: "Patch",
    kinds.INSTALL_DISK: "Install disk of",
    kinds.MANIFEST_GROUP: "Manifests",
    kinds.HEALTHCHECK: "Health check",
    kinds.MACHINE_SET: "Machine set",
    kinds.MACHINE_SET_NODE: "Machine",
    kinds.KERNEL_ARGS: "Kernel arguments of",
}
"""What people call each type of resource."""

ACTS = {"create": ("+", "Create"), "update": ("~", "Change"), "destroy": ("-", "Remove")}


@dataclass(frozen=True)
class Problem:
    """Why a template cannot be synced, or what to know before; `line` counts from 1, 0 where no line is to blame."""

    severity: str  # error or warning
    message: str
    line: int = 0


@page("template.validate")
def template_editor(request: PageRequest) -> HttpResponse:
    """The editor with an example, or with an existing cluster (`?cluster=`) to change."""
    name = request.GET.get("cluster", "")
    text = _exported(request, name) if name else example(request.actor)
    return show(request, "clusters/template.html", _editor(request, text, editing=name), "template")


def _editor(request: PageRequest, text: str, **more: Any) -> dict[str, Any]:
    known = queries.visible(request.actor, Cluster.objects.order_by("name"))
    names = [cluster.name for cluster in known if allowed(request.actor, "template.export", on=cluster)]
    return {"text": text, "clusters": names, **_checked(request, text), **more}


@page("template.export")
def template_export(request: PageRequest, name: str) -> HttpResponse:
    """An existing cluster's template as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
    return HttpResponse(_exported(request, name), content_type="application/yaml", headers=headers)


def _exported(request: PageRequest, name: str) -> str:
    cluster = Cluster.objects.filter(name=name).first()
    if cluster is None:
        raise Http404(f"no cluster {name} in this organisation")
    check(request.actor, "template.export", cluster)
    try:
        return queries.export(cluster)
    except ExportError as error:
        return f"# {name} cannot be written as a template: {error}\n"


@require_POST
@page("template.validate")
def template_check(request: PageRequest) -> HttpResponse:
    """Problems and plan of the text in the editor, as it is typed."""
    context = _checked(request, request.POST.get("template", ""))
    return render(request, "clusters/template_check.html", {"organisation": request.organisation, **context})


@require_POST
@page("template.sync")
def template_sync(request: PageRequest) -> HttpResponse:
    """Sync the text, provided that its plan is still the one that was shown; with `dry-run` change nothing."""
    text, dry_run = request.POST.get("template", ""), "dry-run" in request.POST
    store.one_at_a_time()
    context = _editor(request, text)
    review: Review | None = context["review"]
    if review is not None and not dry_run and request.POST.get("plan") != context["digest"]:
        problem = "Nothing was changed: what is stored changed since this plan was shown. Read it again, then sync."
        context["problems"] = [Problem("error", problem), *context["problems"]]
        review = None
    if review is not None:
        try:
            actions.sync_template(request.actor, text, dry_run=dry_run)
        except ValidationError as error:
            context["problems"] = [Problem("error", message) for message in error.messages]
        else:
            if not dry_run:
                messages.success(request, f"{review.cluster}: {count(len(context['changes']), 'change')} synced.")
                return redirect("cluster", request.organisation.slug, review.cluster)
            context["dry_run"] = True
    return show(request, "clusters/template.html", context, "template")


def _checked(request: PageRequest, text: str) -> dict[str, Any]:
    """Everything that the page says about a template."""
    can_sync = allowed_somewhere(request.actor, "template.sync")
    review, problems = _judged(text, with_plan=can_sync)
    if review is not None:
        try:
            actions.check_review(request.actor, review)
        except Denied as refusal:  # nor is what is stored theirs to see
            review, problems, can_sync = None, [*problems, Problem("error", str(refusal))], False
    errors = sum(problem.severity == "error" for problem in problems)
    names = names_of(review, request.actor) if review else {}
    changes = [_shown(change, names) for change in review.plan.changes()] if review else []
    found = effects(review, names) if review else []
    return {
        "review": review,
        "problems": problems,
        "errors": errors,
        "tally": _tally(errors, len(problems) - errors),
        "changes": changes,
        "effects": found,
        "destroys": any(effect.shape == "bad" for effect in found),
        "digest": _digest(changes),
        "can_sync": can_sync,
    }


def _judged(text: str, with_plan: bool) -> tuple[Review | None, list[Problem]]:
    """The plan and what speaks against it. A plan shows stored patches, so only who may sync gets one."""
    if len(text) > LONGEST:
        return None, [Problem("error", f"The template has {len(text):,} characters; {LONGEST:,} are taken here.")]
    review: Review | None = None
    try:
        if with_plan:
            review = templates.review(text, no_files)
            refusals, warnings = review.refusals, review.warnings
        else:
            parsed, _ = templates.read(text, no_files)
            refusals, warnings = template.problems(parsed), template.warnings(parsed)
    except TemplateError as error:
        return None, [Problem("error", message, _line(text, message)) for message in leaves(str(error))]
    return review, [
        *(Problem("error", message, _line(text, message)) for message in refusals),
        *(Problem("warning", message, _line(text, message)) for message in warnings),
    ]


def _tally(errors: int, notes: int) -> list[tuple[State, str]]:
    found: list[tuple[State, str]] = [("bad", count(errors, "error")), ("warn", count(notes, "note"))]
    return [(shape, words) for (shape, words), number in zip(found, (errors, notes), strict=True) if number]


def _shown(change: Change, names: dict[str, str]) -> dict[str, Any]:
    act = "create" if change.old is None else "destroy" if change.new is None else "update"
    sign, verb = ACTS[act]
    return {
        "act": act,
        "sign": sign,
        "verb": verb,
        "kind": WORDS[change.resource.type],
        "id": change.resource.id,
        "name": names.get(change.resource.id, ""),
        "diff": change.diff(),
    }


def _digest(changes: list[dict[str, Any]]) -> str:
    """Names a plan, so that what is synced is what was shown."""
    return hashlib.sha256(repr(changes).encode()).hexdigest()


def leaves(text: str) -> list[str]:
    """The single errors of nested lists, each with what it is about in front."""
    found: list[str] = []
    context: list[str] = []
    pending = 0
    for line in text.splitlines():
        message = line.strip().removeprefix("* ").strip()
        heading = re.fullmatch(r"(.*?):? ?(\d+) errors? occurred:", message)
        if heading:
            if heading[1]:
                context.append(heading[1].rstrip(":"))
            pending = int(heading[2])
        elif message:
            found.append(": ".join([*context[-1:], message]))
            pending -= 1
            if pending <= 0 and context:
                context.pop()
    return found or [text]


_LINE = re.compile(r"line (\d+)")
_QUOTED = re.compile(r'"([^"]+)"')
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _line(text: str, message: str) -> int:
    """The line a message is about: the last one that it names, else the first that holds what it quotes."""
    if numbers := _LINE.findall(message):
        return int(numbers[-1])
    for word in reversed([*_UUID.findall(message), *_QUOTED.findall(message)]):
        for number, line in enumerate(text.splitlines(), start=1):
            if word in line:
                return number
    return 0
