from talos.gen import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OSRootSpec(_message.Message):
    __slots__ = ("issuing_ca", "cert_sani_ps", "cert_sandns_names", "token", "accepted_c_as")
    ISSUING_CA_FIELD_NUMBER: _ClassVar[int]
    CERT_SANI_PS_FIELD_NUMBER: _ClassVar[int]
    CERT_SANDNS_NAMES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_C_AS_FIELD_NUMBER: _ClassVar[int]
    issuing_ca: _common_pb2.PEMEncodedCertificateAndKey
    cert_sani_ps: _containers.RepeatedCompositeFieldContainer[_common_pb2.NetIP]
    cert_sandns_names: _containers.RepeatedScalarFieldContainer[str]
    token: str
    accepted_c_as: _containers.RepeatedCompositeFieldContainer[_common_pb2.PEMEncodedCertificate]
    def __init__(self, issuing_ca: _Optional[_Union[_common_pb2.PEMEncodedCertificateAndKey, _Mapping]] = ..., cert_sani_ps: _Optional[_Iterable[_Union[_common_pb2.NetIP, _Mapping]]] = ..., cert_sandns_names: _Optional[_Iterable[str]] = ..., token: _Optional[str] = ..., accepted_c_as: _Optional[_Iterable[_Union[_common_pb2.PEMEncodedCertificate, _Mapping]]] = ...) -> None: ...

class APICertsSpec(_message.Message):
    __slots__ = ("client", "server", "accepted_c_as", "skip_verifying_client_cert")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_C_AS_FIELD_NUMBER: _ClassVar[int]
    SKIP_VERIFYING_CLIENT_CERT_FIELD_NUMBER: _ClassVar[int]
    client: _common_pb2.PEMEncodedCertificateAndKey
    server: _common_pb2.PEMEncodedCertificateAndKey
    accepted_c_as: _containers.RepeatedCompositeFieldContainer[_common_pb2.PEMEncodedCertificate]
    skip_verifying_client_cert: bool
    def __init__(self, client: _Optional[_Union[_common_pb2.PEMEncodedCertificateAndKey, _Mapping]] = ..., server: _Optional[_Union[_common_pb2.PEMEncodedCertificateAndKey, _Mapping]] = ..., accepted_c_as: _Optional[_Iterable[_Union[_common_pb2.PEMEncodedCertificate, _Mapping]]] = ..., skip_verifying_client_cert: _Optional[bool] = ...) -> None: ...

class CertSANSpec(_message.Message):
    __slots__ = ("i_ps", "dns_names", "fqdn")
    I_PS_FIELD_NUMBER: _ClassVar[int]
    DNS_NAMES_FIELD_NUMBER: _ClassVar[int]
    FQDN_FIELD_NUMBER: _ClassVar[int]
    i_ps: _containers.RepeatedCompositeFieldContainer[_common_pb2.NetIP]
    dns_names: _containers.RepeatedScalarFieldContainer[str]
    fqdn: str
    def __init__(self, i_ps: _Optional[_Iterable[_Union[_common_pb2.NetIP, _Mapping]]] = ..., dns_names: _Optional[_Iterable[str]] = ..., fqdn: _Optional[str] = ...) -> None: ...
