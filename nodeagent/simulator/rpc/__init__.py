"""What each method of the machine API does, a module per subject. A method that is missing here is unimplemented."""

from nodeagent.simulator import cosi, trustd
from nodeagent.simulator.api import Services, services
from nodeagent.simulator.rpc import (
    configuration,
    controllers,
    debug,
    disks,
    etcd,
    files,
    health,
    images,
    life,
    meta,
    programs,
    serving,
    system,
)
from talos.gen import cluster_pb2, inspect_pb2, security_pb2, storage_pb2, time_pb2
from talos.gen.cosi import state_pb2
from talos.gen.machine import debug_pb2, image_pb2, lifecycle_pb2, machine_pb2, volumes_pb2


def all_services() -> Services:
    """Every service of the machine API and of trustd."""
    machine = machine_pb2.DESCRIPTOR.services_by_name["MachineService"]
    return services(
        *((machine, module.CALLS) for module in (configuration, etcd, files, life, meta, programs, serving, system)),
        (machine, images.MACHINE_CALLS),
        (machine, debug.MACHINE_CALLS),
        (image_pb2.DESCRIPTOR.services_by_name["ImageService"], images.CALLS),
        (lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"], images.LIFECYCLE_CALLS),
        (debug_pb2.DESCRIPTOR.services_by_name["DebugService"], debug.CALLS),
        *((service, {}) for service in volumes_pb2.DESCRIPTOR.services_by_name.values()),
        (storage_pb2.DESCRIPTOR.services_by_name["StorageService"], disks.CALLS),
        (time_pb2.DESCRIPTOR.services_by_name["TimeService"], system.TIME_CALLS),
        (inspect_pb2.DESCRIPTOR.services_by_name["InspectService"], controllers.CALLS),
        (cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"], health.CALLS),
        (state_pb2.DESCRIPTOR.services_by_name["State"], cosi.CALLS),
        (security_pb2.DESCRIPTOR.services_by_name["SecurityService"], trustd.CALLS),
    )
