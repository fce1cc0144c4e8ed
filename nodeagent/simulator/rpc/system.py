"""Version, host name, time, and what the kernel counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from nodeagent.simulator import figures, proc
from nodeagent.simulator.calls import Call, Implementation
from nodeagent.simulator.programs import uptime
from talos.gen import time_pb2
from talos.gen.machine import system_pb2


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
    return system_pb2.MemoryResponse(messages=[system_pb2.Memory(meminfo=proc.meminfo(call.boot))])


async def load_average(call: Call, request: Empty) -> system_pb2.LoadAvgResponse:
    return system_pb2.LoadAvgResponse(messages=[figures.load(call.boot, uptime(call.boot))])


async def system_stat(call: Call, request: Empty) -> system_pb2.SystemStatResponse:
    return system_pb2.SystemStatResponse(messages=[figures.system_stat(call.boot, uptime(call.boot))])


async def cpu_info(call: Call, request: Empty) -> system_pb2.CPUInfoResponse:
    return system_pb2.CPUInfoResponse(messages=[system_pb2.CPUsInfo(cpu_info=proc.processors(call.boot))])


async def cpu_frequencies(call: Call, request: Empty) -> system_pb2.CPUFreqStatsResponse:
    found = figures.frequencies(call.boot, uptime(call.boot))
    return system_pb2.CPUFreqStatsResponse(messages=[system_pb2.CPUsFreqStats(cpu_freq_stats=found)])


async def disk_stats(call: Call, request: Empty) -> system_pb2.DiskStatsResponse:
    devices = figures.disks(call.boot, uptime(call.boot))
    total = figures.total(devices, system_pb2.DiskStat())
    return system_pb2.DiskStatsResponse(messages=[system_pb2.DiskStats(total=total, devices=devices)])


async def network_device_stats(call: Call, request: Empty) -> system_pb2.NetworkDeviceStatsResponse:
    devices = proc.links(call.boot)
    total = figures.total(devices, system_pb2.NetDev())
    return system_pb2.NetworkDeviceStatsResponse(messages=[system_pb2.NetworkDeviceStats(total=total, devices=devices)])


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
    "CPUFreqStats": cpu_frequencies,
    "DiskStats": disk_stats,
    "NetworkDeviceStats": network_device_stats,
}
TIME_CALLS: Mapping[str, Implementation] = {"Time": time_now, "TimeCheck": time_check}
