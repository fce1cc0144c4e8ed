"""Texts of configuration differences, and the names of service accounts."""

from collections.abc import Iterator
from pathlib import Path

from talos import serviceaccount
from talos.textdiff import unified
from tests.talos.vectors import unequal


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    for part, records in data.items():
        for record in records:
            name = record.get("id") or record.get("name") or record.get("fullID")
            yield f"{part}/{name}", {"part": part, **record}


def check(case: dict) -> str | None:
    return _CHECKS[case["part"]](case)


def check_diff(case: dict) -> str | None:
    return unequal("diff", unified(case["previous"], case["new"]), case["diff"])


def check_name(case: dict) -> str | None:
    account = serviceaccount.from_name(case["name"])
    got = {
        "baseName": account.base_name,
        "fullID": account.full_id,
        "isInfraProvider": account.is_infra_provider,
        "nameWithPrefix": account.name,
    }
    return unequal("account", got, {key: case[key] for key in got})


def check_id(case: dict) -> str | None:
    account = serviceaccount.from_full_id(case["fullID"])
    got = {
        "baseName": account.base_name if account else "",
        "isInfraProvider": account is not None and account.is_infra_provider,
        "isServiceAccount": account is not None,
        "suffix": account.suffix if account else "",
    }
    return unequal("account", got, {key: case[key] for key in got})


_CHECKS = {"diff": check_diff, "serviceAccountNames": check_name, "serviceAccountIDs": check_id}
