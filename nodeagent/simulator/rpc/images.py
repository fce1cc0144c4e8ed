"""Container images by name, and the installer that one of them is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator import sequences
from nodeagent.simulator.boot import Boot
from nodeagent.simulator.calls import Call, Implementation, Refusal
from nodeagent.simulator.image import Image, parse_installer
from talos.gen import common_pb2
from talos.gen.machine import access_pb2, image_pb2, lifecycle_pb2

BAD_SUFFIX = "-bad"
"""A reference that ends so cannot be pulled; for tests."""
_LAYERS = 2
_LAYER_SIZE = 40 * 1024**2

Progress = image_pb2.ImageServicePullLayerProgress


def _store(containerd: common_pb2.ContainerdInstance) -> str:
    """Name of the image store; Refusal for a combination that is none."""
    namespace = containerd.namespace
    if namespace == common_pb2.NS_UNKNOWN or (
        containerd.driver == common_pb2.CONTAINERD and namespace == common_pb2.NS_CRI
    ):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "unsupported containerd instance")
    return f"{containerd.driver}/{namespace}"


def _digest(reference: str) -> str:
    _, at, digest = reference.partition("@")
    return digest if at else "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


async def pull(
    call: Call, request: image_pb2.ImageServicePullRequest
) -> AsyncIterator[image_pb2.ImageServicePullResponse]:
    store, reference = _store(request.containerd), request.image_ref
    _check_reference(reference)
    for layer in range(_LAYERS):
        name = "sha256:" + hashlib.sha256(f"{reference}/{layer}".encode()).hexdigest()
        for status, offset in (
            (Progress.DOWNLOADING, _LAYER_SIZE // 2),
            (Progress.DOWNLOAD_COMPLETE, _LAYER_SIZE),
            (Progress.EXTRACT_COMPLETE, _LAYER_SIZE),
        ):
            progress = Progress(status=status, offset=offset, total=_LAYER_SIZE)
            yield image_pb2.ImageServicePullResponse(
                pull_progress=image_pb2.ImageServicePullProgress(layer_id=name, progress=progress)
            )
        await asyncio.sleep(call.boot.machine.timings.image_pull / _LAYERS)
    pinned = reference if "@" in reference else f"{reference}@{_digest(reference)}"
    call.boot.images[f"{store} {pinned}"] = _digest(reference)
    call.boot.images[f"{store} {reference}"] = _digest(reference)
    yield image_pb2.ImageServicePullResponse(name=pinned)


def _check_reference(reference: str) -> None:
    if not reference:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "image reference is empty")
    if reference.partition("@")[0].endswith(BAD_SUFFIX):
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"failed to resolve image {reference}: not found")


async def list_(
    call: Call, request: image_pb2.ImageServiceListRequest
) -> AsyncIterator[image_pb2.ImageServiceListResponse]:
    store = _store(request.containerd)
    for key, digest in sorted(call.boot.images.items()):
        where, _, name = key.partition(" ")
        if where == store:
            yield image_pb2.ImageServiceListResponse(name=name, digest=digest, size=_LAYERS * _LAYER_SIZE)


async def remove(call: Call, request: image_pb2.ImageServiceRemoveRequest) -> Empty:
    key = f"{_store(request.containerd)} {request.image_ref}"
    if call.boot.images.pop(key, None) is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f'image "{request.image_ref}": not found')
    return Empty()


def _installer(call: Call, containerd: common_pb2.ContainerdInstance, reference: str) -> Image:
    if call.boot.installing.locked():
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "another install or upgrade is in progress")
    if not reference:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "image name is required")
    if f"{_store(containerd)} {reference}" not in call.boot.images:
        raise Refusal(grpc.StatusCode.INTERNAL, f'failed to get image "{reference}": not found')
    try:
        return parse_installer(reference)
    except ValueError as error:
        raise Refusal(grpc.StatusCode.INTERNAL, str(error)) from None


async def install(
    call: Call, request: lifecycle_pb2.LifecycleServiceInstallRequest
) -> AsyncIterator[lifecycle_pb2.LifecycleServiceInstallResponse]:
    boot = call.boot
    if boot.installation is not None:
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "Talos is already installed")
    path = request.destination.disk
    if not path:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "destination disk is required")
    if boot.machine.hardware.disk(path) is None:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f'disk "{path}" is not found')
    image = _installer(call, request.containerd, request.source.image_name)
    async with boot.installing:
        async for progress in _run_installer(boot, image, path):
            yield lifecycle_pb2.LifecycleServiceInstallResponse(progress=progress)


async def upgrade(
    call: Call, request: lifecycle_pb2.LifecycleServiceUpgradeRequest
) -> AsyncIterator[lifecycle_pb2.LifecycleServiceUpgradeResponse]:
    boot = call.boot
    if boot.installation is None:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "Talos is not installed")
    image = _installer(call, request.containerd, request.source.image_name)
    async with boot.installing:
        async for progress in _run_installer(boot, image, boot.installation.disk):
            yield lifecycle_pb2.LifecycleServiceUpgradeResponse(progress=progress)


async def _run_installer(
    boot: Boot, image: Image, path: str
) -> AsyncIterator[lifecycle_pb2.LifecycleServiceInstallProgress]:
    """Lines of output, then the exit code. The machine does not reboot by itself."""
    steps = (
        f"running Talos installer {image.version}",
        f"installing to {path}",
        "writing META",
        "installation complete",
    )
    for step in steps:
        yield lifecycle_pb2.LifecycleServiceInstallProgress(message=step)
        await asyncio.sleep(boot.machine.timings.install / len(steps))
    sequences.write_installation(boot, image, path)
    boot.publish_volumes()
    yield lifecycle_pb2.LifecycleServiceInstallProgress(exit_code=0)


async def old_list(call: Call, request: access_pb2.ImageListRequest) -> AsyncIterator[access_pb2.ImageListResponse]:
    store = _store(common_pb2.ContainerdInstance(driver=common_pb2.CRI, namespace=request.namespace))
    for key, digest in sorted(call.boot.images.items()):
        where, _, name = key.partition(" ")
        if where == store:
            yield access_pb2.ImageListResponse(name=name, digest=digest, size=_LAYERS * _LAYER_SIZE)


async def old_pull(call: Call, request: access_pb2.ImagePullRequest) -> access_pb2.ImagePullResponse:
    store = _store(common_pb2.ContainerdInstance(driver=common_pb2.CRI, namespace=request.namespace))
    _check_reference(request.reference)
    await asyncio.sleep(call.boot.machine.timings.image_pull)
    call.boot.images[f"{store} {request.reference}"] = _digest(request.reference)
    return access_pb2.ImagePullResponse(messages=[access_pb2.ImagePull()])


CALLS: Mapping[str, Implementation] = {"Pull": pull, "List": list_, "Remove": remove}
LIFECYCLE_CALLS: Mapping[str, Implementation] = {"Install": install, "Upgrade": upgrade}
MACHINE_CALLS: Mapping[str, Implementation] = {"ImageList": old_list, "ImagePull": old_pull}
