"""Pages of policies: what widens and narrows roles, whom each touches, who may do what and why, who gets where."""

from dataclasses import dataclass
from typing import Any

import yaml
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render

from apps.access import actions, explain, queries, spec, words
from apps.access.actor import ROLES
from apps.access.check import Denied, allowed
from apps.access.explain import TALOS, Explanation
from apps.access.methods import METHODS
from apps.access.models import Policy
from apps.access.policy import GRANT, LIMIT, NONE, Rule
from apps.access.verbs import VERBS
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.dashboard.clusters import cluster_of
from apps.dashboard.page import PageRequest, page, show
from apps.dashboard.people import tabs

LISTS = ("subjects", "clusters", "kubernetes_groups", "talos_methods")
"""Fields of the form with one entry a line."""

OFFERED = 200
"""Clusters that the question offers."""

ROLE_WORDS = (
    ("", "does not change it"),
    (NONE, "None: shut out (only to leave less)"),
    *((role, role.capitalize()) for role in ROLES),
)


@dataclass(frozen=True)
class Row:
    """A policy as its row shows it."""

    policy: Policy
    whom: str
    gives: str
    about: str


def row_of(policy: Policy) -> Row:
    """What is shown of one policy."""
    rule = policy.rule
    return Row(policy, words.whom(rule), words.gives(rule), words.about(rule))


@page("policy.list")
def policy_list(request: PageRequest) -> HttpResponse:
    """The policies, and the question who may do what."""
    context: dict[str, Any] = {
        "rows": [row_of(policy) for policy in queries.policies().order_by("name")],
        "can_write": allowed(request.actor, "policy.write"),
    }
    if request.headers.get("HX-Request"):
        return render(request, "policies/list_part.html", {"organisation": request.organisation, **context})
    context |= {"tabs": tabs(request), **_question(request)}
    return show(request, "policies/list.html", context, "members", "policy,member")


def _question(request: PageRequest) -> dict[str, Any]:
    """The question of the address, its answer, and what its fields offer."""
    asked = {name: request.GET.get(name, "").strip() for name in ("user", "verb", "object")}
    anybody = allowed(request.actor, "policy.write")
    names = clusters.visible(request.actor, Cluster.objects.order_by("name")).values_list("name", flat=True)
    answer, problem = _answer(request, asked) if asked["verb"] else (None, "")
    return {
        "asked": asked,
        "answer": answer,
        "problem": problem,
        "anybody": anybody,
        "people": [holder.subject.removeprefix("user:") for holder in queries.holders()] if anybody else [],
        "verbs": [*VERBS, "kubernetes", *(f"{TALOS}{method}" for method in METHODS)],
        "objects": [f"cluster/{name}" for name in names[:OFFERED]],
    }


def _answer(request: PageRequest, asked: dict[str, str]) -> tuple[Explanation | None, str]:
    try:
        actor = queries.actor_named(request.actor, asked["user"])
        on = queries.object_named(request.actor, asked["object"])
        return explain.explain(actor, explain.resolve(asked["verb"], on), on), ""
    except (queries.Unknown, ValueError, Denied) as error:
        return None, str(error)


def _policy(name: str) -> Policy:
    found = queries.policies().filter(name=name).first()
    if found is None:
        raise Http404(f"there is no policy {name}")
    return found


@page("policy.write")
def policy_new(request: PageRequest) -> HttpResponse:
    """A form for a policy, with what it would touch."""
    if request.method != "POST":
        return _form(request, QueryDict("effect=grant"), None, {})
    name = request.POST.get("name", "").strip()
    return _saved(request, name, None)


@page("policy.list")
def policy_detail(request: PageRequest, name: str) -> HttpResponse:
    """One policy: what it says, whom and what it touches; to change for those who may."""
    row = _policy(name)
    return _form(request, _filled(row), row, {})


@page("policy.write")
def policy_edit(request: PageRequest, name: str) -> HttpResponse:
    """Change what a policy says."""
    if request.method != "POST":
        return redirect("policy", request.organisation.slug, name)
    return _saved(request, name, _policy(name))


@page("policy.write")
def policy_delete(request: PageRequest, name: str) -> HttpResponse:
    """End a policy."""
    row = _policy(name)
    if request.method == "POST":
        try:
            with transaction.atomic():
                actions.delete_policy(request.actor, row)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect("policy", request.organisation.slug, name)
        messages.success(request, f"{name} is gone. What was open by it ends within seconds.")
    return redirect("policies", request.organisation.slug)


@page("policy.write")
def policy_preview(request: PageRequest) -> HttpResponse:
    """Whom and what the form would touch, as it is typed."""
    if request.method != "POST":
        return redirect("policies", request.organisation.slug)
    name = request.POST.get("name", "").strip() or "a-policy"
    context = {"organisation": request.organisation, **_previewed(request, name, request.POST)}
    return render(request, "policies/preview.html", context)


def _saved(request: PageRequest, name: str, row: Policy | None) -> HttpResponse:
    slug = request.organisation.slug
    try:
        with transaction.atomic():
            made = actions.write_policy(
                request.actor, name, _given(request.POST), request.POST.get("description", ""), row
            )
    except ValidationError as error:
        found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        return _form(request, request.POST, row, found)
    messages.success(request, f"{made.name} counts from now on.")
    return redirect("policy", slug, made.name)


def _given(form: QueryDict) -> dict[str, Any]:
    """What the form says, as a policy has it."""
    texts: dict[str, Any] = {field: form.get(field, "") for field in spec.FIELDS}
    return {field: value.split() if field in LISTS else value for field, value in texts.items()}


def _filled(row: Policy) -> QueryDict:
    """The form of a policy that is there."""
    form = QueryDict(mutable=True)
    form.update({"name": row.name, "description": row.description, "effect": row.rule.effect})
    for field, value in spec.written(row.rule).items():
        form[field] = "\n".join(value) if isinstance(value, list) else value
    return form


def _form(request: PageRequest, form: QueryDict, row: Policy | None, errors: dict[str, list[str]]) -> HttpResponse:
    fields = {field: {"value": form.get(field, ""), "help": spec.FIELDS[field], "errors": errors.get(field, [])}
              for field in spec.FIELDS}  # fmt: skip
    name = row.name if row else form.get("name", "").strip()
    can_write = allowed(request.actor, "policy.write")
    context = {
        "row": row_of(row) if row else None,
        "fields": fields,
        "name": {"value": name, "errors": errors.get("name", [])},
        "description": {"value": form.get("description", ""), "errors": errors.get("description", [])},
        "other_errors": errors.get("", []),
        "has_errors": bool(errors),
        "can_write": can_write,
        "roles": ROLE_WORDS,
        "effects": ((GRANT, "Give more"), (LIMIT, "Leave less")),
        "text": _yaml(row) if row else "",
        **(_previewed(request, name or "a-policy", form, row.rule if row and not can_write else None)),
    }
    return show(request, "policies/form.html", context, "members", "policy", status=400 if errors else 200)


def _previewed(request: PageRequest, name: str, form: QueryDict, stored: Rule | None = None) -> dict[str, Any]:
    """What a form would touch, or what has to be said before that can be told. `stored` needs no reading."""
    if not form.get("subjects", "").strip():
        return {"preview": None}
    try:
        rule = stored or actions.read_policy(request.actor, name, _given(form))
    except ValidationError as error:
        return {"preview": None, "problems": error.messages}
    found = queries.preview(request.actor, rule)
    sentence = f"For {words.whom(rule)}: {words.gives(rule)}, on {words.about(rule)}."
    return {"preview": found, "sentence": sentence, "limits": rule.effect == LIMIT}


def _yaml(row: Policy) -> str:
    """A policy as `omni policies apply` takes it."""
    head = {"name": row.name, **({"description": row.description} if row.description else {})}
    text = yaml.safe_dump({**head, **spec.written(row.rule)}, sort_keys=False, allow_unicode=True, width=100)
    return str(text)


@page("cluster.read")
def cluster_who(request: PageRequest, name: str) -> HttpResponse:
    """Who can reach a cluster: role there, Kubernetes groups, and by which policies."""
    cluster = cluster_of(request, name)
    found = queries.who(cluster.facts)
    context = {
        "cluster": cluster,
        "reaches": [reach for reach in found if reach.standing.role],
        "shut_out": [reach for reach in found if not reach.standing.role],
        "about": [
            row_of(policy) for policy in queries.policies().order_by("name") if policy.rule.covers(cluster.facts)
        ],
        "can_write": allowed(request.actor, "policy.write"),
    }
    if request.headers.get("HX-Request"):
        return render(request, "policies/who_part.html", {"organisation": request.organisation, **context})
    return show(request, "policies/who.html", context, "clusters", "policy,member,cluster")
