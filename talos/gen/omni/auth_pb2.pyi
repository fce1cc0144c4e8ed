import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublicKey(_message.Message):
    __slots__ = ("pgp_data", "webauthn_data", "plain_key")
    class Plain(_message.Message):
        __slots__ = ("key_pem", "not_before", "not_after")
        KEY_PEM_FIELD_NUMBER: _ClassVar[int]
        NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
        NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
        key_pem: str
        not_before: _timestamp_pb2.Timestamp
        not_after: _timestamp_pb2.Timestamp
        def __init__(self, key_pem: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    PGP_DATA_FIELD_NUMBER: _ClassVar[int]
    WEBAUTHN_DATA_FIELD_NUMBER: _ClassVar[int]
    PLAIN_KEY_FIELD_NUMBER: _ClassVar[int]
    pgp_data: bytes
    webauthn_data: bytes
    plain_key: PublicKey.Plain
    def __init__(self, pgp_data: _Optional[bytes] = ..., webauthn_data: _Optional[bytes] = ..., plain_key: _Optional[_Union[PublicKey.Plain, _Mapping]] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("email",)
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    email: str
    def __init__(self, email: _Optional[str] = ...) -> None: ...

class RegisterPublicKeyRequest(_message.Message):
    __slots__ = ("public_key", "identity", "role", "skip_user_role")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SKIP_USER_ROLE_FIELD_NUMBER: _ClassVar[int]
    public_key: PublicKey
    identity: Identity
    role: str
    skip_user_role: bool
    def __init__(self, public_key: _Optional[_Union[PublicKey, _Mapping]] = ..., identity: _Optional[_Union[Identity, _Mapping]] = ..., role: _Optional[str] = ..., skip_user_role: _Optional[bool] = ...) -> None: ...

class RegisterPublicKeyResponse(_message.Message):
    __slots__ = ("login_url", "public_key_id")
    LOGIN_URL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    login_url: str
    public_key_id: str
    def __init__(self, login_url: _Optional[str] = ..., public_key_id: _Optional[str] = ...) -> None: ...

class AwaitPublicKeyConfirmationRequest(_message.Message):
    __slots__ = ("public_key_id",)
    PUBLIC_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    public_key_id: str
    def __init__(self, public_key_id: _Optional[str] = ...) -> None: ...

class ConfirmPublicKeyRequest(_message.Message):
    __slots__ = ("public_key_id",)
    PUBLIC_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    public_key_id: str
    def __init__(self, public_key_id: _Optional[str] = ...) -> None: ...

class RevokePublicKeyRequest(_message.Message):
    __slots__ = ("public_key_id",)
    PUBLIC_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    public_key_id: str
    def __init__(self, public_key_id: _Optional[str] = ...) -> None: ...
