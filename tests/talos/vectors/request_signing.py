"""Signed calls: verification of signatures, rules for keys, and the text of a service account's key."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from talos import openpgp, serviceaccount, signing
from tests.talos.vectors import unequal

#: Where we answer otherwise than the reference, on purpose: None accepts, a text refuses.
OWN = {
    "signed-6": None,  # it never finds the metadata `fieldSelectors`, as that arrives in lower case
    "five-parts": "has 5 parts, not 4",
    "three-parts": "has 3 parts, not 4",  # it crashes
    "timestamp-second-value": "2 times x-sidero-timestamp",
}


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    common = {"keys": data["keys"], "plainKeys": data["plainKeys"]["keys"]}
    for part in ("grpc", "http"):
        for record in data[part]:
            yield f"{part}/{record['id']}", {"part": part, **common, **record}
    for record in data["keyValidation"]:
        yield f"key/{record['key']}/{record['nowUnix']}", {"part": "key", **common, **record}
    for record in data["plainKeys"]["keys"]:
        yield f"plain/{record['curve']}", {"part": "plain", **record}
    for record in data["plainKeys"]["refused"]:
        yield f"plain/{record['id']}", {"part": "refused", **record}
    for name, record in data["keys"].items():
        yield f"keys/{name}", {"part": "keys", **record}
    yield "serviceAccount", {"part": "serviceAccount", **data["serviceAccount"]}


def check(case: dict) -> str | None:
    return _CHECKS[case["part"]](case)


def check_grpc(case: dict) -> str | None:
    return verdict(
        case, lambda now, find: signing.verify(case["metadata"], case["method"], now, find), OWN.get(case["id"], "")
    )


def check_http(case: dict) -> str | None:
    given = case["httpMethod"], case["requestURI"], case["body"].encode(), case["timestamp"], case["signature"]
    return verdict(case, lambda now, find: signing.verify_http(*given, now, find), "")


def verdict(case: dict, verify, own: str | None) -> str | None:
    key = verifier(case)
    wanted = case["error"] if own == "" else own
    try:
        got = verify(at(case["nowUnix"]), lambda fingerprint: key)
    except (signing.Unsigned, signing.BadSignature) as error:
        if wanted is None or (own and own not in str(error)):
            return f"refused: {error}, want {wanted!r}"
        return None
    return unequal("fingerprint", got, key.fingerprint) if wanted is None else f"accepted, want {wanted!r}"


def verifier(case: dict):
    name = case["verifierKey"]
    if name is None:
        return None
    if name.startswith("plain:"):
        pem = next(key["publicKeyPEM"] for key in case["plainKeys"] if key["curve"] == name.removeprefix("plain:"))
        return signing.parse_public("plain", pem.encode())
    return signing.parse_public("pgp", case["keys"][name]["public"].encode())


def check_key(case: dict) -> str | None:
    key = openpgp.read_public(case["keys"][case["key"]]["public"].encode())
    now, options = at(case["nowUnix"]), case["options"]
    longest = timedelta(seconds=options["maxAllowedLifetimeSeconds"])
    refused = None
    try:
        key.check_lifetime(now, longest)
        if options.get("validEmailAsName", True):
            assert key.email
    except openpgp.UnusableKey as error:
        refused = str(error)
    words = {"too long": "too long", "expired": "expired", "valid key lifetime": "never expires", "email": "e-mail"}
    wanted = case["error"]
    if wanted is None or refused is None:
        return unequal("error", refused, wanted)
    said = next(ours for theirs, ours in words.items() if theirs in wanted)
    return (
        (None if said in refused else f"error: {refused!r}, want {wanted!r}")
        or unequal("expired", key.is_expired(now, timedelta()), case["isExpiredSkew0"])
        or unequal("expired with skew", key.is_expired(now), case["isExpiredSkew5m"])
    )


def check_keys(case: dict) -> str | None:
    public = openpgp.read_public(case["public"].encode())
    private = openpgp.read_private(case["private"].encode())
    again = openpgp.read_private(private.armored.encode())
    now = at(case["createdUnix"])
    public.verify(b"message", again.sign(b"message", now))
    lifetime = timedelta(seconds=case["lifetimeSeconds"]) or None
    return (
        unequal("fingerprint", public.fingerprint, case["fingerprint"])
        or unequal("created", public.created, now)
        or unequal("lifetime", public.lifetime, lifetime)
        or unequal("private", private.public, public)
        or unequal("written and read again", openpgp.read_public(again.public.armored.encode()), public)
    )


def check_plain(case: dict) -> str | None:
    key = signing.parse_public("plain", case["publicKeyPEM"].encode())
    for signature in case["signatures"]:
        header = f"siderov1 a@b {key.fingerprint} {signature['base64']}"
        try:
            signing._check_signature(header, case["data"].encode(), lambda fingerprint: key)
        except signing.BadSignature as error:
            if signature["error"] is None:
                return f"{signature['form']}: {error}"
        else:
            if signature["error"] is not None:
                return f"{signature['form']} is accepted"
    return unequal("key id", key.fingerprint, case["keyId"])


def check_refused(case: dict) -> str | None:
    try:
        signing.parse_public("plain", case["pem"].encode())
    except ValueError:
        return None
    return "accepted"


def check_service_account(case: dict) -> str | None:
    name, key = serviceaccount.read_key(case["encoded"])
    armored = json.loads(case["json"])["pgp_key"]
    return (
        unequal("name", name, case["name"])
        or unequal("fingerprint", key.public.fingerprint, case["fingerprint"])
        or unequal("key", key.public, openpgp.read_private(armored.encode()).public)
        or unequal("written and read again", serviceaccount.read_key(serviceaccount.key_text(name, key))[0], name)
    )


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


_CHECKS = {
    "grpc": check_grpc,
    "http": check_http,
    "key": check_key,
    "keys": check_keys,
    "plain": check_plain,
    "refused": check_refused,
    "serviceAccount": check_service_account,
}
