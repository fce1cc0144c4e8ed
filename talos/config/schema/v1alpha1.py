"""The v1alpha1 document: `machine` and `cluster`."""

from __future__ import annotations

from talos.config.schema.composite import Pointer, Struct, always, field
from talos.config.schema.types import BOOL, STRING
from talos.config.schema.v1alpha1_cluster import CLUSTER_CONFIG
from talos.config.schema.v1alpha1_machine import MACHINE_CONFIG

V1ALPHA1 = Struct(
    "v1alpha1.Config",
    always("version", "ConfigVersion", STRING),
    field("debug", "ConfigDebug", Pointer(BOOL)),
    field("persist", "ConfigPersist", Pointer(BOOL)),
    always("machine", "MachineConfig", Pointer(MACHINE_CONFIG)),
    always("cluster", "ClusterConfig", Pointer(CLUSTER_CONFIG)),
)
