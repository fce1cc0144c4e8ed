"""How long things take on a simulated machine."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Timings:
    """Seconds. The defaults are for a demonstration; real machines take ten times as long and more."""

    boot: float = 0.3
    """Firmware and kernel, before Talos has a network."""
    reboot: float = 2.0
    """From the end of one boot to the beginning of the next: nothing answers."""
    image_pull: float = 0.4
    install: float = 2.0
    service: float = 0.1
    """A system service from its start to Running."""
    etcd: float = 0.5
    kubelet: float = 1.0
    static_pods: float = 1.0
    node_ready: float = 1.0
    """From the registration of a Kubernetes node until it is Ready."""
    node_lost: float = 40.0
    """A node that is silent for so long is no longer Ready."""
    kubespan: float = 3.0
    """Between two looks at the peers of the mesh. One that does not answer has 15 seconds all the same."""
    wipe: float = 0.5
    failure: float = 10.0
    """After a failed sequence, before the machine reboots."""

    def scaled(self, factor: float) -> Timings:
        """Everything `factor` times as long."""
        return Timings(*(getattr(self, field.name) * factor for field in fields(self)))
