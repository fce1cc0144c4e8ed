"""The OCI runtime specification's field types, as far as Linux containers have them (version 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ID_MAPPING: dict[str, Any] = {"containerID": "uint32", "hostID": "uint32", "size": "uint32"}
_HOOK: dict[str, Any] = {"path": "string", "args": ["string"], "env": ["string"], "timeout": "int"}
_SPEC: dict[str, Any] = {
    "ociVersion": "string",
    "hostname": "string",
    "domainname": "string",
    "annotations": {"*": "string"},
    "process": {
        "apparmorProfile": "string",
        "args": ["string"],
        "capabilities": {
            "ambient": ["string"],
            "bounding": ["string"],
            "effective": ["string"],
            "inheritable": ["string"],
            "permitted": ["string"],
        },
        "commandLine": "string",
        "consoleSize": {"height": "uint", "width": "uint"},
        "cwd": "string",
        "env": ["string"],
        "execCPUAffinity": {"final": "string", "initial": "string"},
        "ioPriority": {"class": "string", "priority": "int"},
        "noNewPrivileges": "bool",
        "oomScoreAdj": "int",
        "rlimits": [{"hard": "uint64", "soft": "uint64", "type": "string"}],
        "scheduler": {
            "deadline": "uint64",
            "flags": ["string"],
            "nice": "int32",
            "period": "uint64",
            "policy": "string",
            "priority": "int32",
            "runtime": "uint64",
        },
        "selinuxLabel": "string",
        "terminal": "bool",
        "user": {
            "additionalGids": ["uint32"],
            "gid": "uint32",
            "uid": "uint32",
            "umask": "uint32",
            "username": "string",
        },
    },
    "root": {"path": "string", "readonly": "bool"},
    "mounts": [
        {
            "destination": "string",
            "gidMappings": [_ID_MAPPING],
            "options": ["string"],
            "source": "string",
            "type": "string",
            "uidMappings": [_ID_MAPPING],
        }
    ],
    "hooks": {
        "createContainer": [_HOOK],
        "createRuntime": [_HOOK],
        "poststart": [_HOOK],
        "poststop": [_HOOK],
        "prestart": [_HOOK],
        "startContainer": [_HOOK],
    },
    "linux": {
        "cgroupsPath": "string",
        "devices": [
            {
                "fileMode": "uint32",
                "gid": "uint32",
                "major": "int64",
                "minor": "int64",
                "path": "string",
                "type": "string",
                "uid": "uint32",
            }
        ],
        "gidMappings": [_ID_MAPPING],
        "intelRdt": {
            "closID": "string",
            "enableMonitoring": "bool",
            "l3CacheSchema": "string",
            "memBwSchema": "string",
            "schemata": ["string"],
        },
        "maskedPaths": ["string"],
        "memoryPolicy": {"flags": ["string"], "mode": "string", "nodes": "string"},
        "mountLabel": "string",
        "namespaces": [{"path": "string", "type": "string"}],
        "netDevices": {"*": {"name": "string"}},
        "personality": {"domain": "string", "flags": ["string"]},
        "readonlyPaths": ["string"],
        "resources": {
            "blockIO": {
                "leafWeight": "uint16",
                "throttleReadBpsDevice": [{"major": "int64", "minor": "int64", "rate": "uint64"}],
                "throttleReadIOPSDevice": [{"major": "int64", "minor": "int64", "rate": "uint64"}],
                "throttleWriteBpsDevice": [{"major": "int64", "minor": "int64", "rate": "uint64"}],
                "throttleWriteIOPSDevice": [{"major": "int64", "minor": "int64", "rate": "uint64"}],
                "weight": "uint16",
                "weightDevice": [{"leafWeight": "uint16", "major": "int64", "minor": "int64", "weight": "uint16"}],
            },
            "cpu": {
                "burst": "uint64",
                "cpus": "string",
                "idle": "int64",
                "mems": "string",
                "period": "uint64",
                "quota": "int64",
                "realtimePeriod": "uint64",
                "realtimeRuntime": "int64",
                "shares": "uint64",
            },
            "devices": [{"access": "string", "allow": "bool", "major": "int64", "minor": "int64", "type": "string"}],
            "hugepageLimits": [{"limit": "uint64", "pageSize": "string"}],
            "memory": {
                "checkBeforeUpdate": "bool",
                "disableOOMKiller": "bool",
                "kernel": "int64",
                "kernelTCP": "int64",
                "limit": "int64",
                "reservation": "int64",
                "swap": "int64",
                "swappiness": "uint64",
                "useHierarchy": "bool",
            },
            "network": {"classID": "uint32", "priorities": [{"name": "string", "priority": "uint32"}]},
            "pids": {"limit": "int64"},
            "rdma": {"*": {"hcaHandles": "uint32", "hcaObjects": "uint32"}},
            "unified": {"*": "string"},
        },
        "rootfsPropagation": "string",
        "seccomp": {
            "architectures": ["string"],
            "defaultAction": "string",
            "defaultErrnoRet": "uint",
            "flags": ["string"],
            "listenerMetadata": "string",
            "listenerPath": "string",
            "syscalls": [
                {
                    "action": "string",
                    "args": [{"index": "uint", "op": "string", "value": "uint64", "valueTwo": "uint64"}],
                    "errnoRet": "uint",
                    "names": ["string"],
                }
            ],
        },
        "sysctl": {"*": "string"},
        "timeOffsets": {"*": {"nanosecs": "uint32", "secs": "int64"}},
        "uidMappings": [_ID_MAPPING],
    },
}
"""Names of scalar types; `[type]` is a list, `{"*": type}` a map."""


def spec_problem(overrides: Mapping[str, Any]) -> str | None:
    """The first value that has not the type of its field; None if all have. Unknown fields are ignored."""
    return _problem(overrides, _SPEC, "")


def _problem(value: Any, wanted: Any, path: str) -> str | None:
    if value is None:
        return None
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return _mismatch(value, path, "a list")
        return next(filter(None, (_problem(item, wanted[0], path) for item in value)), None)
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return _mismatch(value, path, "a map")
        types = {key.lower(): type_ for key, type_ in wanted.items()}
        for key, item in value.items():
            type_ = wanted.get("*") or types.get(str(key).lower())
            if type_ is not None and (problem := _problem(item, type_, f"{path}.{key}" if path else str(key))):
                return problem
        return None
    return None if _fits(value, wanted) else _mismatch(value, path, wanted)


def _fits(value: Any, wanted: str) -> bool:
    if wanted == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or wanted == "bool":
        return isinstance(value, bool) and wanted == "bool"
    if wanted.startswith("float"):
        return isinstance(value, int | float)
    if not isinstance(value, int | float) or value != int(value):
        return False
    bits = int(wanted.removeprefix("u").removeprefix("int") or 64)
    low, high = (0, 1 << bits) if wanted.startswith("u") else (-1 << (bits - 1), 1 << (bits - 1))
    return low <= value < high


def _mismatch(value: Any, path: str, wanted: str) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool"}
    return f"json: cannot unmarshal {kinds.get(type(value), 'number')} into field {path}: expected {wanted}"
