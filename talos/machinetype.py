"""Machine types, as `machine.type` of a configuration names them and resources number them."""

from enum import IntEnum

from talos.config.errors import quote


class MachineType(IntEnum):
    """What a machine is in its cluster. The number is the one in Talos' resources."""

    UNKNOWN = 0
    #: A control plane that bootstraps etcd by itself; a legacy of Talos before 0.9.
    INIT = 1
    CONTROLPLANE = 2
    WORKER = 3

    @classmethod
    def parse(cls, text: str) -> "MachineType":
        """Read a type from a configuration; `join` and nothing are workers. ValueError for any other word."""
        if text in ("", "join"):
            return cls.WORKER
        for machine_type in cls:
            if text == str(machine_type):
                return machine_type
        raise ValueError(f"invalid machine type: {quote(text)}")

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def is_control_plane(self) -> bool:
        return self in (MachineType.INIT, MachineType.CONTROLPLANE)
