"""Version, host name, time, and figures that a machine without a kernel can only make up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from nodeagent.simulator.calls import Call, Implementation
from talos.gen import time_pb2
from talos.gen.machine import system_pb2

_KIB = 1024


async def version(call: Call, request: Empty) -> system_pb2.VersionResponse:
    boot = call.boot
    answer = system_pb2.Version(
        version=system_pb2.VersionInfo(tag=boot.version, sha="simulated", go_version="none", os="linux", arch="amd64"),
        platform=system_pb2.PlatformInfo(name="metal", mode="metal"),
        features=system_pb2.FeaturesInfo(rbac=True),
    )
    return system_pb2.VersionResponse(messages=[answer])


async def hostname(call: Call, request: Empty) -> system_pb2.HostnameResponse:
    return system_pb2.HostnameResponse(messages=[system_pb2.Hostname(hostname=call.boot.hostname)])


async def memory(call: Call, request: Empty) -> system_pb2.MemoryResponse:
    total = call.boot.machine.hardware.memory * _KIB
    info = system_pb2.MemInfo(
        memtotal=total, memfree=total * 7 // 10, memavailable=total * 8 // 10, cached=total // 10, buffers=total // 100
    )
    return system_pb2.MemoryResponse(messages=[system_pb2.Memory(meminfo=info)])


async def load_average(call: Call, request: Empty) -> system_pb2.LoadAvgResponse:
    return system_pb2.LoadAvgResponse(messages=[system_pb2.LoadAvg(load1=0.12, load5=0.1, load15=0.05)])


async def system_stat(call: Call, request: Empty) -> system_pb2.SystemStatResponse:
    boot = call.boot
    uptime = time.time() - boot.started
    total = system_pb2.CPUStat(user=uptime * 0.05, system=uptime * 0.03, idle=uptime * 0.9)
    return system_pb2.SystemStatResponse(
        messages=[system_pb2.SystemStat(boot_time=int(boot.started), cpu_total=total, process_running=1)]
    )


async def cpu_info(call: Call, request: Empty) -> system_pb2.CPUInfoResponse:
    cores = call.boot.machine.hardware.cores
    info = [
        system_pb2.CPUInfo(processor=number, vendor_id="QEMU", model_name="QEMU Virtual CPU", cpu_cores=cores)
        for number in range(cores)
    ]
    return system_pb2.CPUInfoResponse(messages=[system_pb2.CPUsInfo(cpu_info=info)])


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now


async def time_now(call: Call, request: Empty) -> time_pb2.TimeResponse:
    return _time("time.cloudflare.com")


async def time_check(call: Call, request: time_pb2.TimeRequest) -> time_pb2.TimeResponse:
    return _time(request.server)


def _time(server: str) -> time_pb2.TimeResponse:
    now: Any = _now()
    return time_pb2.TimeResponse(messages=[time_pb2.Time(server=server, localtime=now, remotetime=now)])


CALLS: Mapping[str, Implementation] = {
    "Version": version,
    "Hostname": hostname,
    "Memory": memory,
    "LoadAvg": load_average,
    "SystemStat": system_stat,
    "CPUInfo": cpu_info,
}
TIME_CALLS: Mapping[str, Implementation] = {"Time": time_now, "TimeCheck": time_check}
