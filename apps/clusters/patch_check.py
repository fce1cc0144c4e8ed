"""Patches against the configs they become part of: what a machine would refuse is refused before it is stored."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from apps.clusters import credentials, discovery, render
from apps.clusters.machine_steps import Role
from apps.clusters.networks import DEFAULT_SUBNETS, Subnets, subnets_of
from talos import semver
from talos.config.document import Config, load
from talos.config.schema import KINDS
from talos.config.validate import Mode, validate
from talos.contract import VersionContract
from talos.secrets import Bundle
from talos.template import NO_ENDPOINT, Endpoint, Resource, endpoint_of
from talos.template import resources as kinds

MACHINES = 200
"""Machines with patches of their own that are looked at; beyond, machines say what is wrong with their configs."""

Patches = tuple[tuple[str, str], ...]


def problems(desired: list[Resource], contract: str, kubernetes: str, talos: str) -> list[str]:
    """Why the patches of a template would make configs that no machine of Talos `talos` takes: a sentence each.

    The patch that its features stand for is among them.

    `contract` is the Talos version that the cluster began or begins with. Nothing is read or stored.
    """
    found: dict[str, None] = {}
    cluster = next(item for item in desired if item.type == kinds.CLUSTER)
    endpoint = endpoint_of(cluster.spec)
    if text := discovery.patch(cluster.spec["features"], contract):
        name = discovery.patch_name(cluster.id)
        desired = [*desired, Resource(kinds.CONFIG_PATCH, name, {kinds.LABEL_CLUSTER: cluster.id}, {}, {"data": text})]
    for role, patches in _combinations(desired):
        found.update(dict.fromkeys(_Check(role, contract, kubernetes, talos, endpoint).sentences(patches)))
    return list(found)


def subnets(desired: list[Resource], contract: str) -> Subnets:
    """The networks that Kubernetes has for itself in the cluster of a template: what its patches say, if they apply."""
    spec = next(item.spec for item in desired if item.type == kinds.CLUSTER)
    for role, patches in _combinations(desired):
        if role == "controlplane" and any("Subnets" in text for _, text in patches):
            check = _Check(role, contract, spec["kubernetes_version"], spec["talos_version"])
            with suppress(render.RenderError, ValueError):
                return subnets_of(check.config(patches))
    return DEFAULT_SUBNETS


def _combinations(desired: list[Resource]) -> Iterator[tuple[Role, Patches]]:
    """What is applied together: for each machine set, and for each machine with patches of its own."""
    patches = sorted((item for item in desired if item.type == kinds.CONFIG_PATCH), key=lambda item: item.id)
    patches = [item for item in patches if kinds.LABEL_SYSTEM_PATCH not in item.labels]

    def level(machine_set: str | None, machine: str | None) -> Patches:
        wanted = (machine_set, machine)
        held = (kinds.LABEL_MACHINE_SET, kinds.LABEL_CLUSTER_MACHINE)
        chosen = [item for item in patches if tuple(item.labels.get(name) for name in held) == wanted]
        return tuple((item.id, str(item.spec["data"])) for item in chosen)

    seen = 0
    for machine_set in (item for item in desired if item.type == kinds.MACHINE_SET):
        role: Role = "controlplane" if kinds.LABEL_CONTROL_PLANE in machine_set.labels else "worker"
        common = (*level(None, None), *level(machine_set.id, None))
        if common:
            yield role, common
        for node in desired:
            of_set = node.type == kinds.MACHINE_SET_NODE and node.labels.get(kinds.LABEL_MACHINE_SET) == machine_set.id
            if of_set and seen < MACHINES and (own := level(None, node.id)):
                seen += 1
                yield role, (*common, *own)


class _Check:
    """One role of one cluster, with secrets that are thrown away."""

    def __init__(
        self, role: Role, contract: str, kubernetes: str, talos: str, endpoint: Endpoint = NO_ENDPOINT
    ) -> None:
        self.role, self.contract, self.kubernetes, self.talos = role, contract, kubernetes, talos
        self.endpoint = endpoint

    def sentences(self, patches: Patches) -> Iterator[str]:
        """What is wrong with the config, each with the patch that brings it."""
        known = set(self._errors(()))
        if not set(self._errors(patches)) - known:
            return
        for number, (name, _) in enumerate(patches, start=1):
            new = [error for error in self._errors(patches[:number]) if error not in known]
            known.update(new)
            yield from (f"patch {name}: {error}" for error in new)

    def config(self, patches: Patches) -> Config:
        """The config with these patches. Raises RenderError."""
        return load(render.render(self._inputs(patches)).config)

    def _errors(self, patches: Patches) -> list[str]:
        try:
            config = self.config(patches)
        except render.RenderError as error:
            return [str(error)]
        report = validate(config, Mode.METAL, talos=self.talos)
        return [*(" ".join(error.split()) for error in report.errors), *self._unknown(config)]

    def _unknown(self, config: Config) -> Iterator[str]:
        version = semver.parse(self.talos)
        for document in config.documents:
            kind = KINDS.get(document.kind)
            if kind is not None and kind.since > (version.major, version.minor):
                since = ".".join(map(str, kind.since))
                yield f"{document.kind} is known to Talos from {since} on, and the cluster has {version}"

    def _inputs(self, patches: Patches) -> render.Inputs:
        installs, shared = render.contract_installs(self.contract), self.role == "controlplane"
        return render.Inputs(
            cluster="cluster",
            endpoint=self.endpoint.url or "https://[::1]:6443",
            kubernetes_version=self.kubernetes,
            contract=self.contract,
            role=self.role,
            install_disk="/dev/sda" if installs else "",
            install_image="installer:v1" if installs else "",
            secrets_id="",
            join_documents="",
            patches=patches,
            virtual_ip=self.endpoint.virtual_ip if shared else "",
            virtual_ip_link="eth0",
            bundle=_throwaway(str(VersionContract.parse(self.contract))),
        )


@cache
def _throwaway(contract: str) -> Bundle:
    """Secrets of no cluster: making them takes a second, and what they are does not matter."""
    return credentials.new_secrets(contract)
