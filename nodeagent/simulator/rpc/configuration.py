"""ApplyConfiguration: what each mode does in each state and version."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from nodeagent.simulator import node, sequences
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.configuration import Configuration
from talos.config import diff, document
from talos.config.document import Config, ConfigError
from talos.config.schema import KINDS
from talos.config.validate import Mode as ValidationMode
from talos.config.validate import validate
from talos.gen.machine import configuration_pb2
from talos.roles import ADMIN

log = logging.getLogger(__name__)

Mode = configuration_pb2.ApplyConfigurationRequest.Mode
Request = configuration_pb2.ApplyConfigurationRequest

_WITHOUT_REBOOT = "Applied configuration without a reboot"
_WITH_REBOOT = "Applied configuration with a reboot"
_STAGED = "Staged configuration to be applied after the next reboot"

#: Until Talos 1.13 a change anywhere else in the v1alpha1 document needs a reboot.
_LIVE_MACHINE = {
    "ca", "acceptedCAs", "time", "certSANs", "install", "network", "sysfs", "sysctls", "logging", "controlPlane",
    "kubelet", "kernel", "registries", "pods", "seccompProfiles", "nodeAnnotations", "nodeLabels", "nodeTaints",
}  # fmt: skip
_LIVE_FEATURES = {"kubernetesTalosAPIAccess", "kubePrism", "hostDNS", "imageCache", "nodeAddressSortAlgorithm"}


async def apply(call: Call, request: Request) -> configuration_pb2.ApplyConfigurationResponse:
    boot = call.boot
    if boot.maintenance and boot.minor < (1, 13):
        return await _apply_in_old_maintenance(boot, request)
    if not boot.maintenance and ADMIN not in call.roles:
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "not authorized")
    if boot.applying.locked() and boot.minor >= (1, 14):
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "another ApplyConfiguration is in progress")
    async with boot.applying:
        return await _apply(boot, request)


async def _apply(boot: Boot, request: Request) -> configuration_pb2.ApplyConfigurationResponse:
    loaded = _load(boot, request.data)
    config = Configuration.parse(request.data)
    if not boot.maintenance and not config.complete and boot.minor >= (1, 11):
        raise _invalid("the applied machine configuration doesn't contain v1alpha1 config, but the current config does")
    mode = request.mode
    if mode == Mode.REBOOT and boot.maintenance and boot.minor >= (1, 13):
        mode = Mode.NO_REBOOT
    if mode == Mode.REBOOT and boot.minor >= (1, 14):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "apply configuration with a reboot is no longer supported")
    if mode not in Mode.values():
        raise _invalid(f"incorrect mode '{mode}' specified for the apply config call")
    warnings = _validate(boot, loaded)

    needs_reboot = not boot.maintenance and boot.minor < (1, 14) and _needs_reboot(boot.config, config)
    if needs_reboot and mode in (Mode.NO_REBOOT, Mode.TRY):
        raise _invalid("this config change can't be applied in immediate mode")
    if mode == Mode.AUTO:
        mode = Mode.REBOOT if needs_reboot else Mode.NO_REBOOT
    if request.dry_run:
        return _answer(mode, _dry_run(boot, loaded, mode), warnings)
    if mode != Mode.TRY:
        boot.stop_trying()
    if mode == Mode.STAGED:
        boot.machine.disk.update(config=config.text)
        boot.publish_config("persistent", config)
        return _answer(mode, _STAGED, warnings)
    if mode == Mode.REBOOT:
        boot.machine.disk.update(config=config.text)
        boot.sequencer.request("reboot", sequences.reboot, lambda: sequences.fail(boot))
        return _answer(mode, _WITH_REBOOT, warnings)
    await _make_live(boot, config, persist=mode != Mode.TRY)
    if mode == Mode.TRY:
        timeout = request.try_mode_timeout.ToTimedelta().total_seconds() or 60.0
        boot.try_until(timeout)
        return _answer(mode, f"{_WITHOUT_REBOOT}: the previous configuration comes back in {timeout:g} seconds")
    return _answer(mode, _WITHOUT_REBOOT, warnings)


async def _apply_in_old_maintenance(boot: Boot, request: Request) -> configuration_pb2.ApplyConfigurationResponse:
    """The small server that Talos before 1.13 runs in maintenance mode."""
    if request.mode not in (Mode.REBOOT, Mode.AUTO, Mode.TRY):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"apply configuration --mode='{Mode.Name(request.mode)}'")
    try:
        loaded = _load(boot, request.data)
    except Refusal as refusal:
        raise unknown(refusal.details) from None
    _validate(boot, loaded)
    if request.dry_run:
        return _answer(Mode.REBOOT, "Dry run summary:\nnode is running in maintenance mode")
    await _make_live(boot, Configuration.parse(request.data), persist=True)
    return configuration_pb2.ApplyConfigurationResponse(messages=[configuration_pb2.ApplyConfiguration()])


async def _make_live(boot: Boot, config: Configuration, *, persist: bool) -> None:
    was_maintenance = boot.maintenance
    old = boot.config
    await boot.set_config(config, persist=persist)
    if was_maintenance:
        return  # the initialize sequence goes on from here
    node.publish_identity(boot)
    boot.publish_addresses()
    if (old.accepted_cas, old.cert_sans, old.hostname) != (config.accepted_cas, config.cert_sans, config.hostname):
        boot.spawn(boot.apid.configure(), "apid")
    await node.reconfigure(boot, old)


def _load(boot: Boot, data: bytes) -> Config:
    """Read it as this Talos version does. Raises Refusal (InvalidArgument)."""
    try:
        config = document.load(data)
    except ConfigError as error:
        raise _invalid(str(error)) from None
    for root in document.roots(data):
        version, kind, name = document.document_key(root)
        if kind in KINDS and KINDS[kind].since > boot.minor:
            where = f"{version}/{kind}/{name} (line {root.line})"
            raise _invalid(f'error decoding document {where}: "{kind}" "{version}": not registered')
    return config


def _validate(boot: Boot, config: Config) -> list[str]:
    """The node's own checks; its warnings. Raises Refusal (InvalidArgument) with everything that is wrong."""
    report = validate(config, ValidationMode.METAL, local=False, talos=boot.version.removeprefix("v"))
    if report.error:
        raise _invalid(f"configuration validation failed: {report.error}")
    return list(report.warnings)


def _invalid(details: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, details)


def _answer(mode: int, details: str, warnings: Sequence[str] = ()) -> configuration_pb2.ApplyConfigurationResponse:
    return configuration_pb2.ApplyConfigurationResponse(
        messages=[
            configuration_pb2.ApplyConfiguration(
                mode=mode,  # type: ignore[arg-type]
                mode_details=details,
                warnings=warnings,
            )
        ]
    )


def _dry_run(boot: Boot, new: Config, mode: int) -> str:
    text = _WITH_REBOOT if mode == Mode.REBOOT else _STAGED if mode == Mode.STAGED else _WITHOUT_REBOOT
    changes = "No changes."
    if boot.config.documents:
        changes = diff.unified(document.load(boot.config.text), new) or changes
    return f"Dry run summary:\n{text} (skipped in dry-run).\nConfig diff:\n\n{changes}"


def _needs_reboot(old: Configuration, new: Configuration) -> bool:
    def fixed(config: Configuration) -> dict[str, Any]:
        legacy = dict(config.legacy or {})
        machine = dict(legacy.get("machine") or {})
        machine["features"] = {
            key: value for key, value in (machine.get("features") or {}).items() if key not in _LIVE_FEATURES
        }
        legacy["machine"] = {key: value for key, value in machine.items() if key not in _LIVE_MACHINE}
        return {key: value for key, value in legacy.items() if key not in ("debug", "cluster")}

    return fixed(old) != fixed(new)


CALLS: Mapping[str, Implementation] = {"ApplyConfiguration": apply}
