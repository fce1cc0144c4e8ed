"""What each way in needs, written down beside the code so that neither changes alone.

A verb of `apps/access/verbs.py`, or how somebody without a role may come in. A route that is not here fails the tests.
"""

ANYBODY = "anybody"
SIGNED_IN = "signed in"
SECRET_IN_ADDRESS = "the address itself is the credential"
JOIN_TOKEN = "a join token, or the node unique token of a known machine"
LINK_KEY = "a WireGuard key that a Provision call let in"
AGENT = "a secret of its own, which a join token let in; the registry knows it"
AWAITED_CONNECTION = "the random id of a connection, told to one agent"
OVERLAY_PEER = "the overlay address, which WireGuard has proved"
OVERLAY_PEER_AND_TOKEN = "the overlay address and the cluster's machine token"

API = "/api/v1/organisations"
ACME = f"{API}/<slug>"

HTTP: dict[str, str] = {
    "PAGE /healthz": ANYBODY,
    "PAGE /readyz": ANYBODY,
    "PAGE /metrics": ANYBODY,  # of private networks
    "PAGE /": ANYBODY,
    "PAGE /first-run": ANYBODY,
    "PAGE /first-run/<token>": SECRET_IN_ADDRESS,
    "PAGE /accounts/link/<secret>": SECRET_IN_ADDRESS,
    "PAGE /accounts/login/": ANYBODY,
    "PAGE /accounts/logout/": ANYBODY,
    "PAGE /accounts/signup/": ANYBODY,  # says that it is closed
    "PAGE /accounts/inactive/": ANYBODY,
    "PAGE /accounts/reauthenticate/": SIGNED_IN,
    "PAGE /accounts/password/set/": SIGNED_IN,
    "PAGE /accounts/password/change/": SIGNED_IN,
    "GET /api/v1/schema": ANYBODY,
    "OPTIONS /api/v1/schema": ANYBODY,
    "GET /api/v1/schema.json": ANYBODY,
    "OPTIONS /api/v1/schema.json": ANYBODY,
    "PAGE /api/v1/.": ANYBODY,  # 404 as a problem document
    "GET /api/v1/me": SIGNED_IN,
    f"GET {API}": SIGNED_IN,
    f"GET {ACME}": "organisation.read",
    f"PATCH {ACME}": "organisation.update",
    f"GET {ACME}/members": "member.list",
    f"POST {ACME}/members": "member.invite",
    f"GET {ACME}/members/<id>": "member.list",
    f"PATCH {ACME}/members/<id>": "member.update",
    f"DELETE {ACME}/members/<id>": "member.remove",
    f"GET {ACME}/api-tokens": "api-token.list",
    f"POST {ACME}/api-tokens": "api-token.create",
    f"GET {ACME}/api-tokens/<id>": "api-token.list",
    f"POST {ACME}/api-tokens/<id>/revoke": "api-token.revoke",
    f"GET {ACME}/audit": "audit.list",
    f"GET {ACME}/audit/<id>": "audit.list",
    f"GET {ACME}/machines": "machine.list",
    f"GET {ACME}/machines/<uuid>": "machine.read",
    f"DELETE {ACME}/machines/<uuid>": "machine.remove",
    f"GET {ACME}/machines/<uuid>/events": "machine.events",
    f"PUT {ACME}/machines/<uuid>/labels": "machine.label",
    f"GET {ACME}/machines/<uuid>/logs": "machine.logs",
    f"GET {ACME}/join-tokens": "join-token.list",
    f"POST {ACME}/join-tokens": "join-token.create",
    f"GET {ACME}/join-tokens/<id>": "join-token.list",
    f"PATCH {ACME}/join-tokens/<id>": "join-token.update",
    f"POST {ACME}/join-tokens/<id>/reveal": "join-token.reveal",
    f"POST {ACME}/join-tokens/<id>/revoke": "join-token.revoke",
    f"GET {ACME}/clusters": "cluster.list",
    f"POST {ACME}/clusters": "cluster.create",
    f"GET {ACME}/clusters/<name>": "cluster.read",
    f"PUT {ACME}/clusters/<name>": "cluster.update",
    f"DELETE {ACME}/clusters/<name>": "cluster.destroy",
    f"GET {ACME}/clusters/<name>/config": "cluster.config",
    f"POST {ACME}/clusters/<name>/kubeconfig": "cluster.kubeconfig",
    f"GET {ACME}/clusters/<name>/machines": "cluster.read",
    f"GET {ACME}/clusters/<name>/status": "cluster.read",
    f"POST {ACME}/clusters/<name>/talosconfig": "cluster.talosconfig",
    f"GET {ACME}/clusters/<name>/template": "template.export",
    f"POST {ACME}/templates/delete": "cluster.destroy",
    f"POST {ACME}/templates/plan": "template.sync",
    f"POST {ACME}/templates/render": "template.validate",
    f"POST {ACME}/templates/sync": "template.sync",
    f"POST {ACME}/templates/validate": "template.validate",
    f"GET {ACME}/machine-classes": "machine-class.list",
    f"POST {ACME}/machine-classes": "machine-class.write",
    f"GET {ACME}/machine-classes/<name>": "machine-class.list",
    f"PUT {ACME}/machine-classes/<name>": "machine-class.write",
    f"DELETE {ACME}/machine-classes/<name>": "machine-class.write",
    "PAGE /o/<slug>/": "cluster.list",
    "PAGE /o/<slug>/clusters": "cluster.list",
    "PAGE /o/<slug>/cluster-count": "cluster.list",
    "PAGE /o/<slug>/clusters/<name>": "cluster.read",
    "PAGE /o/<slug>/clusters/<name>/row": "cluster.list",
    "PAGE /o/<slug>/clusters/<name>/overview": "cluster.read",
    "PAGE /o/<slug>/clusters/<name>/machines": "cluster.read",
    "PAGE /o/<slug>/clusters/<name>/machines/<uuid>": "cluster.config",
    "PAGE /o/<slug>/clusters/<name>/destroy": "cluster.destroy",
    "PAGE /o/<slug>/clusters/<name>/talosconfig": "cluster.talosconfig",
    "PAGE /o/<slug>/clusters/<name>/kubeconfig": "cluster.kubeconfig",
    "PAGE /o/<slug>/clusters/<name>/template": "template.export",
    "PAGE /o/<slug>/template": "template.validate",
    "PAGE /o/<slug>/template/check": "template.validate",
    "PAGE /o/<slug>/template/sync": "template.sync",
    "PAGE /o/<slug>/machines": "machine.list",
    "PAGE /o/<slug>/machine-count": "machine.list",
    "PAGE /o/<slug>/machines/pending": "machine.list",
    "PAGE /o/<slug>/machines/<uuid>": "machine.read",
    "PAGE /o/<slug>/machines/<uuid>/row": "machine.list",
    "PAGE /o/<slug>/machines/<uuid>/overview": "machine.read",
    "PAGE /o/<slug>/machines/<uuid>/events": "machine.events",
    "PAGE /o/<slug>/machines/<uuid>/logs": "machine.logs",
    "PAGE /o/<slug>/machines/<uuid>/labels": "machine.label",
    "PAGE /o/<slug>/machines/<uuid>/remove": "machine.remove",
    "PAGE /o/<slug>/join": "join-token.list",
    "PAGE /o/<slug>/join/arriving": "join-token.list",
    "PAGE /o/<slug>/join/tokens": "join-token.create",
    "PAGE /o/<slug>/join/tokens/<token_id>/<act>": "join-token.update",
    "PAGE /o/<slug>/join/secret/<token_id>/<form>": "join-token.reveal",
}

WEBSOCKETS: dict[str, str] = {
    f"WS {ACME}/members/watch": "member.list",
    f"WS {ACME}/api-tokens/watch": "api-token.list",
    f"WS {ACME}/audit/watch": "audit.list",
    f"WS {ACME}/machines/watch": "machine.list",
    f"WS {ACME}/join-tokens/watch": "join-token.list",
    f"WS {ACME}/machine-classes/watch": "machine-class.list",
    f"WS {ACME}/clusters/watch": "cluster.list",
    "WS /o/<slug>/live machine": "machine.list",
    "WS /o/<slug>/live machine-event": "machine.events",
    "WS /o/<slug>/live machine-log": "machine.logs",
    "WS /o/<slug>/live link": "machine.list",
    "WS /o/<slug>/live join-token": "join-token.list",
    "WS /o/<slug>/live cluster": "cluster.list",
    "WS /o/<slug>/live cluster-machine": "cluster.list",
}

GRPC: dict[str, str] = {
    "GRPC /sidero.link.ProvisionService/Provision": JOIN_TOKEN,
    "GRPC /sidero.link.WireGuardOverGRPCService/CreateStream": LINK_KEY,
    "GRPC /omni.agent.v1.AgentService/Control": AGENT,
    "GRPC /omni.agent.v1.AgentService/Carry": AWAITED_CONNECTION,
    "GRPC /events.EventSinkService/Publish": OVERLAY_PEER,
    "GRPC /securityapi.SecurityService/Certificate": OVERLAY_PEER_AND_TOKEN,
}
