"""talosctl's login at a whole gateway: register, wait, be accepted, sign."""

import asyncio
from datetime import timedelta

import grpc
import pytest
from django.utils import timezone

from apps.accounts import grants, keys
from apps.accounts.identity import from_key
from apps.accounts.models import GrantRequest, Membership, User
from nodeagent.authservice import AuthServer
from talos import openpgp, signing
from talos.gen.omni import auth_pb2, auth_pb2_grpc
from tests.apps.gateways.lab import HOST, Lab

NODE = (("runtime", "Talos"), ("context", "no-such-cluster"), ("node", "no-such-node"))
"""What talosctl sends with these calls too."""


async def test_a_key_is_registered_accepted_and_revoked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = asyncio.Event()
    place = AuthServer._place

    def seen(*arguments: str) -> object:
        waits.set()
        return place(*arguments)

    monkeypatch.setattr(AuthServer, "_place", seen)
    user = await lab.ask(lambda: person("somebody@example.com"))
    key = openpgp.generate(f"Talos <{user.email}>", timezone.now(), timedelta(hours=4))
    public, fingerprint = auth_pb2.PublicKey(pgp_data=key.public.armored.encode()), key.public.fingerprint
    async with lab.gateway(), grpc.aio.insecure_channel(f"{HOST}:{lab.settings.port}") as channel:
        stub = auth_pb2_grpc.AuthServiceStub(channel)
        registered = await stub.RegisterPublicKey(
            auth_pb2.RegisterPublicKeyRequest(public_key=public, identity=auth_pb2.Identity(email=user.email)),
            metadata=NODE,
            wait_for_ready=True,
        )
        assert registered.public_key_id == fingerprint
        accepted = asyncio.ensure_future(wait(stub, fingerprint))
        await waits.wait()
        row = await lab.ask(lambda: accept(lab, user, fingerprint))
        assert registered.login_url.endswith(f"/grant/{row.id}")
        await asyncio.wait_for(accepted, 10)
        identity = await lab.ask(lambda: from_key(fingerprint))
        assert identity
        assert identity.user == user

        asked = auth_pb2.RevokePublicKeyRequest(public_key_id=fingerprint)
        signed = signing.sign(key, user.email, "/auth.AuthService/RevokePublicKey", {}, timezone.now())
        await stub.RevokePublicKey(asked, metadata=[(name, values[0]) for name, values in signed.items()])
        assert await lab.ask(lambda: keys.signing_key(fingerprint)) is None
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.RevokePublicKey(asked)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def person(email: str) -> User:
    user = User.objects.create_user(email)
    Membership.new(user=user, role="operator")
    return user


def accept(lab: Lab, user: User, fingerprint: str) -> GrantRequest:
    request = GrantRequest.objects.get(fingerprint=fingerprint)
    grants.grant(lab.owner, user, request.id, "operator", "")
    return request


async def wait(stub: auth_pb2_grpc.AuthServiceStub, fingerprint: str) -> None:
    await stub.AwaitPublicKeyConfirmation(
        auth_pb2.AwaitPublicKeyConfirmationRequest(public_key_id=fingerprint), metadata=NODE
    )
