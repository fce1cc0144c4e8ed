"""The virtual IP that control planes share: elected in etcd, carried by one of them, and by another when it is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)

RETRY = 0.1
"""Seconds until an address is tried again that another machine of this host has not let go of yet."""


async def compete(boot: Boot, address: str) -> None:
    """Carry a virtual IP whenever this machine is elected, for as long as its etcd takes part. Runs until cancelled."""
    registry, data, member = boot.machine.world.etcd, boot.machine.disk.contents.etcd, boot.member
    assert data is not None, "etcd runs"
    assert member is not None, "etcd runs"
    key = f"vip/{address}"
    try:
        while True:
            await registry.elected(data.cluster, key, member.id)
            try:
                await _carry(boot, address)
                await registry.deposed(data.cluster, key, member.id)
            finally:
                _drop(boot, address)
    finally:
        await registry.resign(data.cluster, key, member.id)


async def _carry(boot: Boot, address: str) -> None:
    """Listen there, where the machine has a place on this host at all."""
    boot.kernel_log.talos(f"enabled shared IP {address}")
    log.info("%s carries %s", boot.uuid, address)
    while boot.machine.listen_address:
        try:
            await boot.ports.take(address)
            break
        except OSError as error:
            boot.ports.give_up(address)
            log.debug("%s: %s: %s", boot.uuid, address, error)
            await asyncio.sleep(RETRY)
    boot.carry(address)


def _drop(boot: Boot, address: str) -> None:
    boot.ports.give_up(address)
    boot.drop(address)
    boot.kernel_log.talos(f"removing shared IP {address}")
