"""What one decision costs: `access.check` on a cluster, without policies and with a hundred of them."""

from __future__ import annotations

from uuid import UUID

from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.access.facts import Facts
from apps.access.policy import GRANT, LIMIT, Rule
from apps.access.verbs import VERBS
from benchmarks.bench import Bench
from benchmarks.floors import cpu_of
from benchmarks.rows import Row

POLICIES = 100
TIMES = 20_000

VERB = "cluster.update"


def measure(bench: Bench) -> list[Row]:
    """Microseconds of processor for each check. The floor looks two words up and compares them."""
    facts = Facts("cluster", "1", "prod-7", "prod-7", {"env": "prod", "site": "a"})
    floor = cpu_of(lambda: ROLES.index("operator") >= ROLES.index(VERBS[VERB]), TIMES)
    found = []
    for count in (0, POLICIES):
        actor = _operator(tuple(_policy(number) for number in range(count)))
        seconds = cpu_of(lambda actor=actor: check(actor, VERB, facts), TIMES)  # type: ignore[misc]
        what = f"access.check with {count} policies, {1 / seconds:,.0f} a second"
        found.append(Row(what, seconds * 1e6, "µs", floor * 1e6, "comparing two roles"))
    return found


def _operator(rules: tuple[Rule, ...]) -> Actor:
    subject = "user:ana@example.com"
    return Actor("user", "1", "ana@example.com", UUID(int=1), "operator", subject=subject, rules=rules)


def _policy(number: int) -> Rule:
    """Every tenth is about the actor, half of these about the cluster."""
    return Rule(
        name=f"policy-{number}",
        subjects=("user:ana@*",)
        if number % 10 == 0
        else (f"user:somebody-{number}@example.com", f"role:team-{number}"),
        effect=GRANT if number % 20 else LIMIT,
        role="operator",
        clusters=("prod-*",) if number % 20 else ("stage-*",),
        cluster_labels="env=prod",
    )
