"""The kubeconfigs that lead to a cluster through this installation: one way there, several ways to say who one is.

None but those of service accounts holds a secret: kubectl asks kubelogin or our own command for a token.
"""

import base64
from typing import Any

from django.conf import settings

from apps.proxies import tokens
from talos.kubeconfig import Entry, Kubeconfig

EXEC, OIDC = "exec", "oidc"

PROOFS = {
    EXEC: "the `omni` command, signed in with `omni login`, gives kubectl a token of an hour",
    OIDC: "kubelogin (`kubectl oidc-login`) signs in through the browser and keeps a token for eight hours",
}
"""Ways in which kubectl says who its user is."""

EXEC_API = "client.authentication.k8s.io/v1"
KUBELOGIN_API = "client.authentication.k8s.io/v1beta1"
"""Every kubelogin answers in this version; only later ones in the one that kubectl asks for."""


def server(slug: str, cluster: str) -> str:
    """Where kubectl finds a cluster."""
    return f"{settings.CONFIG.public_url}/k8s/{slug}/{cluster}"


def for_person(slug: str, cluster: str, email: str, proof: str) -> Kubeconfig:
    """For somebody who proves themselves by one of `PROOFS`."""
    command = _kubelogin(slug, cluster) if proof == OIDC else _plugin(slug, cluster)
    return through_us(slug, cluster, email, {"exec": command})


def through_us(slug: str, cluster: str, identity: str, user: Entry) -> Kubeconfig:
    """One context `ORGANISATION-CLUSTER`; its user has the identity in its name, so that several share a file."""
    return one_context(f"{slug}-{cluster}", identity, user, server(slug, cluster), authority())


def one_context(name: str, identity: str, user: Entry, url: str, ca: bytes) -> Kubeconfig:
    """A kubeconfig for one cluster at one address. `ca` is PEM of who signs its certificate; empty: a public one."""
    entry = {"server": url} | ({"certificate-authority-data": _base64(ca)} if ca else {})
    return Kubeconfig(
        clusters={name: entry},
        users={f"{name}-{identity}": user},
        contexts={name: {"cluster": name, "namespace": "default", "user": f"{name}-{identity}"}},
        current_context=name,
    )


def authority() -> bytes:
    """PEM of the installation's own authority; empty when its certificate is from one that clients know."""
    if settings.CONFIG.certificate:
        return b""
    file = settings.CONFIG.key_folder / "ca.crt"
    return bytes(file.read_bytes()) if file.exists() else b""


def _plugin(slug: str, cluster: str) -> dict[str, Any]:
    return {
        "apiVersion": EXEC_API,
        "command": "omni",
        "args": [
            "kube-token", f"--server={settings.CONFIG.public_url}", f"--organisation={slug}", f"--cluster={cluster}",
        ],
        "env": None,
        "installHint": "`omni` gives kubectl its tokens: install it and sign in with `omni login`.",
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }  # fmt: skip


def _kubelogin(slug: str, cluster: str) -> dict[str, Any]:
    ca = authority()
    return {
        "apiVersion": KUBELOGIN_API,
        "command": "kubectl",
        "args": [
            "oidc-login",
            "get-token",
            f"--oidc-issuer-url={tokens.issuer(slug)}",
            f"--oidc-client-id={tokens.CLIENT}",
            f"--oidc-extra-scope=cluster:{cluster}",
            *([f"--certificate-authority-data={_base64(ca)}"] if ca else []),
        ],
        "env": None,
        "installHint": "kubelogin signs you in: kubectl krew install oidc-login",
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
