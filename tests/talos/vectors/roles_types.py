"""Roles of a client certificate and machine types."""

from talos import roles
from talos.machinetype import MachineType
from tests.talos.vectors import unequal


def cases(data, folder):
    for case in data["machineTypes"]:
        yield f"type/{case['input']}", {"kind": "type", **case}
    for case in data["roles"]:
        yield f"roles/{','.join(case['input'])}", {"kind": "roles", **case}


def check(case):
    return check_type(case) if case["kind"] == "type" else check_roles(case)


def check_roles(case):
    known, unknown = roles.parse(case["input"])
    return unequal("roles", sorted(known), case["roles"] or []) or unequal("unknown", unknown, case["unknown"] or [])


def check_type(case):
    error = None
    try:
        machine_type = MachineType.parse(case["input"])
    except ValueError as raised:
        machine_type, error = MachineType.UNKNOWN, str(raised)
    got = {
        "error": error,
        "isControlPlane": machine_type.is_control_plane,
        "number": machine_type.value,
        "type": str(machine_type),
    }
    return unequal("type", got, {name: case[name] for name in got})
