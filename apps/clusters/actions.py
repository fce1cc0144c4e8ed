"""Every change of a cluster by people: check, write, audit, hint; each in the transaction at hand."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check, check_labels, check_somewhere
from apps.access.facts import Facts
from apps.audit.actions import record
from apps.clusters import credentials, queries, store, templates, ways
from apps.clusters.models import Cluster, ClusterMachine
from apps.clusters.templates import Review
from apps.machines import queries as machine_queries
from apps.machines.actions import write_machine_class
from apps.machines.models import Machine, MachineClass
from apps.reconcile.outbox import changed, hint
from talos import kubeconfig, pki, talosconfig
from talos.selectors import matches_any
from talos.template import Change, ReadFile, Resource, TemplateError
from talos.template import resources as kinds
from talos.template.files import no_files

BREAK_GLASS = timedelta(days=30)
"""How long administrator's credentials that were downloaded are valid."""


def sync_template(actor: Actor, text: bytes | str, read_file: ReadFile = no_files, dry_run: bool = False) -> Review:
    """Make what is stored what the template says; with `dry_run` only say what would change.

    Raises ValidationError with everything that is wrong with the template or stands in its way; then nothing changed.
    """
    check_somewhere(actor, "template.sync")
    try:
        template, _ = templates.read(text, read_file)
        store.one_at_a_time()
        list(Cluster.objects.select_for_update().filter(name=template.cluster.name))  # it is not destroyed meanwhile
        review = templates.review(text, read_file)
    except TemplateError as error:
        raise ValidationError({"template": str(error)}) from None
    check_review(actor, review)
    if review.refusals:
        raise ValidationError({"template": review.refusals})
    if dry_run or review.plan.empty:
        return review
    _apply(actor, review)
    return review


def check_review(actor: Actor, review: Review) -> None:
    """Raise `Denied` unless `actor` may sync this: the cluster as it is and as it shall be, and each machine in it.

    Sets by class take machines later, when nobody asks whose wish it was: whatever the class may give now counts.
    """
    changes = review.plan.changes()
    cluster = Cluster.objects.filter(name=review.cluster).first()
    wanted = next((change.new for change in changes if change.new and change.new.type == kinds.CLUSTER), None)
    if cluster is not None:
        check(actor, "template.sync", cluster)
    if wanted is not None:
        facts = Facts("cluster", "", wanted.id, wanted.id, wanted.labels)
        if cluster is None:
            check(actor, "template.sync", facts)
        else:
            check_labels(actor, "template.sync", cluster.facts, facts)
    for machine in _touched(changes) if actor.rules else ():
        check(actor, "template.sync", machine)


def _touched(changes: list[Change]) -> Iterator[Machine]:
    """The machines that a plan is about, those of sets that change, and those that sets may take by class."""
    rows = machine_queries.listed()
    uuids = {uuid for change in changes if (uuid := _machine_of(change.resource))}
    sets = [change for change in changes if change.resource.type == kinds.MACHINE_SET]
    held = Q(cluster_machine__machine_set__name__in=[change.resource.id for change in sets if change.old])
    yield from rows.filter(Q(uuid__in=uuids) | held)
    allocations = [change.new.spec.get("machine_allocation") for change in sets if change.new]
    names = {allocation["name"] for allocation in allocations if allocation}
    yield from _free([text for row in MachineClass.objects.filter(name__in=names) for text in row.match_labels])


def _free(selectors: list[str]) -> Iterator[Machine]:
    """The machines in no cluster that a class of these selectors may give."""
    for machine in machine_queries.listed().filter(cluster_machine=None) if selectors else ():
        if matches_any(selectors, machine_queries.labels_of(machine)):
            yield machine


def _machine_of(resource: Resource) -> str:
    """UUID of the one machine that a resource is about; empty for others."""
    if resource.type in (kinds.MACHINE_SET_NODE, *kinds.PER_MACHINE):
        return resource.id
    return resource.labels.get(kinds.LABEL_CLUSTER_MACHINE, "")


def _apply(actor: Actor, review: Review) -> None:
    plan = review.plan
    existed = Cluster.objects.filter(name=review.cluster).exists()
    for group in plan.destroy:
        for resource in group:
            store.remove(resource)
    written = [*plan.create, *(change.resource for change in plan.update)]
    for resource in sorted(written, key=lambda item: store.WRITE_ORDER.index(item.type)):
        store.write(resource)
    cluster = Cluster.objects.get(name=review.cluster)
    record(
        actor,
        "cluster.update" if existed else "cluster.create",
        "cluster",
        cluster.id,
        cluster.name,
        created=len(plan.create),
        updated=len(plan.update),
        removed=sum(map(len, plan.destroy)),
    )
    desired_changed(cluster)


def desired_changed(cluster: Cluster) -> None:
    """Something of a cluster is wanted otherwise: its generation grows, and everybody has a look."""
    Cluster.objects.filter(id=cluster.id).update(generation=F("generation") + 1)
    hint("cluster", cluster.id, cluster.organisation_id)
    for row_id in ClusterMachine.objects.filter(cluster=cluster).values_list("id", flat=True):
        hint("cluster-machine", row_id, cluster.organisation_id)
    changed("cluster", cluster.id, cluster.organisation_id)


def destroy_cluster(actor: Actor, cluster: Cluster) -> None:
    """Give all machines back, wiped, and then remove the cluster. Destroying twice changes nothing."""
    check(actor, "cluster.destroy", cluster)
    for machine in machine_queries.listed().filter(cluster_machine__cluster=cluster) if actor.rules else ():
        check(actor, "cluster.destroy", machine)
    started = Cluster.objects.filter(id=cluster.id, deleting_at=None).update(deleting_at=timezone.now())
    if started:
        machines = ClusterMachine.objects.filter(cluster=cluster).count()
        record(actor, "cluster.destroy", "cluster", cluster.id, cluster.name, machines=machines)
        desired_changed(cluster)
        cluster.refresh_from_db()


def write_class(actor: Actor, name: str, selectors: list[str]) -> MachineClass:
    """Create or replace a machine class. Of one that sets take machines by, that is a change of their clusters and of
    the machines that it may give then. Raises `Denied`, `ValidationError`."""
    used = list(Cluster.objects.filter(machine_sets__machine_class=name).distinct())
    with transaction.atomic():
        row = write_machine_class(actor, name, selectors, {})
        if used and actor.rules:
            for touched in (*used, *_free(selectors)):
                check(actor, "template.sync", touched)
    for cluster in used:
        hint("cluster", cluster.id, cluster.organisation_id)
    return row


def check_class_unused(row: MachineClass) -> None:
    """Raise ValidationError while a machine set takes its machines by this class."""
    used = queries.sets_of_class(row.name)
    if used:
        raise ValidationError(f"Machine class {row.name} is used by {', '.join(used)}; change them first.")


def download_talosconfig(actor: Actor, cluster: Cluster, endpoint: str = "") -> str:
    """A talosconfig with administrator's rights that talks to the nodes, or first to the cluster's own endpoint.

    Raises ValidationError too early, and for an endpoint that the cluster does not have.
    """
    check(actor, "cluster.talosconfig", cluster)
    bundle = credentials.bundle_of(_secrets(cluster))
    endpoints, nodes = ways.talos_endpoints(cluster, endpoint)
    client = pki.talos_client(bundle.os, ["os:admin"], timezone.now(), BREAK_GLASS)
    _record_download(actor, "cluster.talosconfig", cluster)
    return talosconfig.generate(cluster.name, endpoints, bundle.os.crt, client, nodes).to_yaml()


def download_kubeconfig(actor: Actor, cluster: Cluster, endpoint: str = "") -> str:
    """A kubeconfig with administrator's rights, pointed at one of `ways.WAYS`; the best there is by default.

    Raises ValidationError too early, and for an endpoint that the cluster does not have.
    """
    check(actor, "cluster.kubeconfig", cluster)
    bundle = credentials.bundle_of(_secrets(cluster))
    server = ways.kubernetes_url(cluster, endpoint)
    _record_download(actor, "cluster.kubeconfig", cluster)
    return kubeconfig.generate(
        cluster=cluster.name,
        endpoint=server,
        ca=bundle.k8s,
        accepted_cas=[bundle.k8s.crt],
        now=timezone.now(),
        ttl=BREAK_GLASS,
    ).to_yaml()


def _secrets(cluster: Cluster) -> Any:
    secrets = getattr(cluster, "secrets", None)
    if secrets is None:
        raise ValidationError(f"The secrets of {cluster.name} are not made yet; try again in a moment.")
    return secrets


def _record_download(actor: Actor, verb: str, cluster: Cluster) -> None:
    until = timezone.now() + BREAK_GLASS
    record(actor, verb, "cluster", cluster.id, cluster.name, valid_until=until.isoformat(timespec="seconds"))
