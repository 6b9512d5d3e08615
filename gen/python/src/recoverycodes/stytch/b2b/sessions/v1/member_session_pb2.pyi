from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from recoverycodes.stytch.sessions.v1 import authentication_factor_pb2 as _authentication_factor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MemberSession(_message.Message):
    __slots__ = ["authentication_factors", "custom_claims", "expires_at", "last_accessed_at", "member_id", "member_session_id", "organization_id", "organization_slug", "roles", "started_at"]
    AUTHENTICATION_FACTORS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_ACCESSED_AT_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_SLUG_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    authentication_factors: _containers.RepeatedCompositeFieldContainer[_authentication_factor_pb2.AuthenticationFactor]
    custom_claims: _struct_pb2.Struct
    expires_at: _timestamp_pb2.Timestamp
    last_accessed_at: _timestamp_pb2.Timestamp
    member_id: str
    member_session_id: str
    organization_id: str
    organization_slug: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    started_at: _timestamp_pb2.Timestamp
    def __init__(self, member_session_id: _Optional[str] = ..., member_id: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_accessed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., authentication_factors: _Optional[_Iterable[_Union[_authentication_factor_pb2.AuthenticationFactor, _Mapping]]] = ..., organization_id: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., organization_slug: _Optional[str] = ..., custom_claims: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
