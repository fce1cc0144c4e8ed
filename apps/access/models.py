"""Policies: what widens or narrows roles."""

from django.db import models

from apps.access.policy import Rule
from apps.tenants.models import TenantModel


class Policy(TenantModel):
    """One policy (desired; writer: actions). `spec` has the fields of `policy.Rule` without its name."""

    name = models.CharField(max_length=63)
    description = models.CharField(max_length=200, default="")
    spec = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="policy_name_once")]

    @property
    def rule(self) -> Rule:
        """As decisions are made by it."""
        lists = {key: tuple(value) for key, value in self.spec.items() if isinstance(value, list)}
        return Rule(name=self.name, **{**self.spec, **lists})


def rules() -> tuple[Rule, ...]:
    """The policies of the organisation in scope, by name."""
    return tuple(policy.rule for policy in Policy.objects.order_by("name"))
