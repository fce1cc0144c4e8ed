"""Every verb of the product and the least role that may use it: the one table that code, docs and refusals read."""

READER, OPERATOR, ADMIN, OWNER = "reader", "operator", "admin", "owner"

VERBS: dict[str, str] = {
    "organisation.read": READER,
    "organisation.update": OWNER,
    "organisation.create": OWNER,  # another one, beside the one owned
    "organisation.leave": READER,
    "member.list": READER,
    "member.invite": ADMIN,
    "member.update": ADMIN,
    "member.remove": ADMIN,
    "api-token.list": READER,  # one's own; admins see all
    "api-token.create": READER,  # never above one's own role
    "api-token.revoke": READER,  # one's own; admins any
    "service-account.list": READER,
    "service-account.write": ADMIN,
    "access-key.list": READER,  # one's own; admins see all
    "access-key.create": READER,  # never above one's own role
    "access-key.revoke": READER,  # one's own; admins any
    "policy.list": READER,
    "policy.write": ADMIN,
    "access.explain": READER,  # of oneself; admins of anybody
    "access.who": READER,  # for a cluster or machine that one may read
    "audit.list": ADMIN,
    "audit.export": ADMIN,
    "join-token.list": OPERATOR,
    "join-token.reveal": OPERATOR,
    "join-token.create": OPERATOR,
    "join-token.update": OPERATOR,
    "join-token.revoke": OPERATOR,
    "machine.list": READER,
    "machine.read": READER,
    "machine.label": OPERATOR,
    "machine.remove": OPERATOR,
    "machine.logs": READER,
    "machine.events": READER,
    "agent.list": READER,
    "agent.accept": OPERATOR,  # what an agent found becomes a machine
    "agent.remove": OPERATOR,
    "machine-class.list": READER,
    "machine-class.write": OPERATOR,
    "cluster.list": READER,
    "cluster.read": READER,
    "cluster.create": OPERATOR,
    "cluster.update": OPERATOR,
    "cluster.destroy": OPERATOR,
    "cluster.config": OPERATOR,  # redacted machine configuration
    "template.validate": READER,
    "template.export": OPERATOR,  # with its patches, which may hold secrets
    "template.sync": OPERATOR,
    "cluster.access": READER,  # kubectl and talosctl through us; what they may do there is for policies and methods
    "cluster.talosconfig": ADMIN,  # break-glass admin credentials
    "cluster.kubeconfig": ADMIN,
}
