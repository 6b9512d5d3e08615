from google.protobuf import struct_pb2 as _struct_pb2
from recoverycodes.stytch.b2b.organizations.v1 import member_pb2 as _member_pb2
from recoverycodes.stytch.b2b.organizations.v1 import organization_pb2 as _organization_pb2
from recoverycodes.stytch.b2b.sessions.v1 import member_session_pb2 as _member_session_pb2
from recoverycodes.stytch.devicehistory.v1 import device_info_pb2 as _device_info_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRequest(_message.Message):
    __slots__ = ["member_id", "organization_id"]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ..., member_id: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ["member", "member_id", "organization", "recovery_codes", "request_id", "status_code"]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    member: _member_pb2.Member
    member_id: str
    organization: _organization_pb2.Organization
    recovery_codes: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    status_code: int
    def __init__(self, request_id: _Optional[str] = ..., member_id: _Optional[str] = ..., member: _Optional[_Union[_member_pb2.Member, _Mapping]] = ..., organization: _Optional[_Union[_organization_pb2.Organization, _Mapping]] = ..., recovery_codes: _Optional[_Iterable[str]] = ..., status_code: _Optional[int] = ...) -> None: ...

class RecoverRequest(_message.Message):
    __slots__ = ["intermediate_session_token", "member_id", "organization_id", "recovery_code", "session_custom_claims", "session_duration_minutes", "session_jwt", "session_token", "telemetry_id"]
    INTERMEDIATE_SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODE_FIELD_NUMBER: _ClassVar[int]
    SESSION_CUSTOM_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    SESSION_DURATION_MINUTES_FIELD_NUMBER: _ClassVar[int]
    SESSION_JWT_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_ID_FIELD_NUMBER: _ClassVar[int]
    intermediate_session_token: str
    member_id: str
    organization_id: str
    recovery_code: str
    session_custom_claims: _struct_pb2.Struct
    session_duration_minutes: int
    session_jwt: str
    session_token: str
    telemetry_id: str
    def __init__(self, organization_id: _Optional[str] = ..., member_id: _Optional[str] = ..., recovery_code: _Optional[str] = ..., intermediate_session_token: _Optional[str] = ..., session_token: _Optional[str] = ..., session_jwt: _Optional[str] = ..., session_duration_minutes: _Optional[int] = ..., session_custom_claims: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., telemetry_id: _Optional[str] = ...) -> None: ...

class RecoverResponse(_message.Message):
    __slots__ = ["member", "member_device", "member_id", "member_session", "organization", "recovery_codes_remaining", "request_id", "session_jwt", "session_token", "status_code"]
    MEMBER_DEVICE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_SESSION_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODES_REMAINING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_JWT_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    member: _member_pb2.Member
    member_device: _device_info_pb2.DeviceInfo
    member_id: str
    member_session: _member_session_pb2.MemberSession
    organization: _organization_pb2.Organization
    recovery_codes_remaining: int
    request_id: str
    session_jwt: str
    session_token: str
    status_code: int
    def __init__(self, request_id: _Optional[str] = ..., member_id: _Optional[str] = ..., member: _Optional[_Union[_member_pb2.Member, _Mapping]] = ..., organization: _Optional[_Union[_organization_pb2.Organization, _Mapping]] = ..., session_token: _Optional[str] = ..., session_jwt: _Optional[str] = ..., recovery_codes_remaining: _Optional[int] = ..., status_code: _Optional[int] = ..., member_session: _Optional[_Union[_member_session_pb2.MemberSession, _Mapping]] = ..., member_device: _Optional[_Union[_device_info_pb2.DeviceInfo, _Mapping]] = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ["member_id", "organization_id"]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ..., member_id: _Optional[str] = ...) -> None: ...

class RotateResponse(_message.Message):
    __slots__ = ["member", "member_id", "organization", "recovery_codes", "request_id", "status_code"]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_CODES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    member: _member_pb2.Member
    member_id: str
    organization: _organization_pb2.Organization
    recovery_codes: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    status_code: int
    def __init__(self, request_id: _Optional[str] = ..., member_id: _Optional[str] = ..., member: _Optional[_Union[_member_pb2.Member, _Mapping]] = ..., organization: _Optional[_Union[_organization_pb2.Organization, _Mapping]] = ..., recovery_codes: _Optional[_Iterable[str]] = ..., status_code: _Optional[int] = ...) -> None: ...
