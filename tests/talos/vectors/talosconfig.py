"""talosconfig files: merged, read and written back, generated."""

import json
from datetime import UTC, datetime

from talos import pki, roles, talosconfig
from talos.secrets import Bundle
from talos.talosconfig import TalosConfig, TalosConfigError
from tests.talos.vectors import unequal


def cases(data, folder):
    for case in data["merge"]:
        yield f"merge/{case['id']}", {"kind": "merge", **case}
    for case in data["load"]:
        yield f"load/{case['id']}", {"kind": "load", **case}
    bundles = {bundle["name"]: bundle["yaml"] for bundle in json.loads((folder / "secrets.json").read_text())}
    case = data["generated"]
    yield f"generated/{case['cluster']}", {"kind": "generated", "yaml": bundles[case["bundle"]], **case}


def check(case):
    return {"merge": check_merge, "load": check_load, "generated": check_generated}[case["kind"]](case)


def check_merge(case):
    try:
        config = TalosConfig.from_yaml(case["into"])
        renames = config.merge(TalosConfig.from_yaml(case["add"]))
    except TalosConfigError as error:
        return None if case["error"] or "panic" in case else f"error: {error}"
    want = [(rename["from"], rename["to"]) for rename in case["renames"]]
    return unequal("output", config.to_yaml(), case["output"]) or unequal("renames", renames, sorted(want))


def check_load(case):
    try:
        output = TalosConfig.from_yaml(case["config"]).to_yaml()
    except TalosConfigError as error:
        return None if case.get("error") or "panic" in case else f"error: {error}"
    return unequal("output", output, case.get("output"))


def check_generated(case):
    """Everything but the client's certificate and key, which are random."""
    bundle = Bundle.from_yaml(case["yaml"])
    client = pki.talos_client(bundle.os, [roles.ADMIN], datetime.now(UTC))
    config = talosconfig.generate(case["cluster"], case["endpoints"], bundle.os.crt, client)
    theirs = TalosConfig.from_yaml(case["output"])
    for context in theirs.contexts.values():
        context.crt = config.contexts[case["cluster"]].crt
        context.key = config.contexts[case["cluster"]].key
    return unequal("output", config.to_yaml(), theirs.to_yaml()) or unequal(
        "written back", TalosConfig.from_yaml(case["output"]).to_yaml(), case["output"]
    )
