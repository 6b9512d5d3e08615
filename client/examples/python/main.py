"""A complete caller of the recovery-codes service in Python, against the sandbox that `make run` starts.

It reads a member's codes, spends one, and replaces them all:

    pip install ./gen/python googleapis-common-protos
    python3 client/examples/python/main.py example-org member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f
"""

import json
import os
import sys
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2

from recoverycodes.stytch.b2b.recoverycodes.v1 import recovery_codes_pb2 as pb
from recoverycodes.stytch.b2b.recoverycodes.v1 import recovery_codes_pb2_grpc as rpc

# More than the 31 seconds that the service gives one call, so that its verdict arrives before we give up.
TIME_LIMIT = 35

# [retries]
# Get may be sent again. Recover and Rotate must not: they are named here without a policy.
SERVICE = "stytch.b2b.recoverycodes.v1.RecoveryCodesService"
SERVICE_CONFIG = json.dumps({
    "methodConfig": [
        {
            "name": [{"service": SERVICE, "method": "Get"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
        {"name": [{"service": SERVICE, "method": "Recover"}, {"service": SERVICE, "method": "Rotate"}]},
    ],
})
# [/retries]


# [connect]
def connect():
    """Return a channel. A program needs one, made at start."""
    server = os.environ.get("RECOVERYCODES_SERVER", "127.0.0.1:50051")
    options = [
        ("grpc.service_config", SERVICE_CONFIG),
        ("grpc.service_config_disable_resolution", 1),  # DNS has no say in what is sent again
    ]
    ca_file = os.environ.get("RECOVERYCODES_CA_FILE")
    if not ca_file:
        return grpc.insecure_channel(server, options)  # plaintext is for loopback
    with open(ca_file, "rb") as file:
        tls = grpc.ssl_channel_credentials(file.read())
    token = grpc.access_token_call_credentials(os.environ["RECOVERYCODES_TOKEN"])
    return grpc.secure_channel(server, grpc.composite_channel_credentials(tls, token), options)
# [/connect]


# [errors]
def error_info(error):
    """Return the google.rpc.ErrorInfo of the service or of Stytch in a grpc.RpcError, or None."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain in ("recoverycodes.internal", "stytch.com"):
                    return info
    return None


def outcome_of(error):
    """Say what is known of a Recover or Rotate that failed: "refused", "not sent" or "unknown"."""
    info = error_info(error)
    if info is None:
        return "unknown"  # made on the way, by gRPC or a proxy: the call may have passed
    if info.domain == "recoverycodes.internal":
        if info.reason == "NOT_SENT":
            return "not sent"
        if info.reason in ("OUTCOME_UNKNOWN", "ANSWER_LOST", "INTERNAL"):
            return "unknown"
    refusals = (
        grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    )
    return "refused" if error.code() in refusals else "unknown"
# [/errors]


def describe(error):
    info = error_info(error)
    return outcome_of(error) if info is None else f"{outcome_of(error)}, {info.reason}"


def main(organization, member):
    with connect() as channel:
        service = rpc.RecoveryCodesServiceStub(channel)

        def active():
            request = pb.GetRequest(organization_id=organization, member_id=member)
            return list(service.Get(request, timeout=TIME_LIMIT).recovery_codes)

        codes = active()
        print(f"get: {len(codes)} active codes")

        # [recover]
        request = pb.RecoverRequest(organization_id=organization, member_id=member, recovery_code=codes[0])
        key = str(uuid.uuid4())  # one for each attempt of a person
        try:
            session = service.Recover(request, timeout=TIME_LIMIT, metadata=[("idempotency-key", key)])
            print(f"recover: done, {session.recovery_codes_remaining} codes left")
        except grpc.RpcError as error:
            session = None
            print(f"recover: {describe(error)}")
            if outcome_of(error) == "unknown":  # never send it again; Get tells
                state = "active" if codes[0] in active() else "inactive"
                print(f"resolve: the code is {state}")  # active is final only after the service's 31 seconds
        # [/recover]

        if session is not None:
            # The same key and request is the same call: it is answered again, and spends nothing.
            again = service.Recover(request, timeout=TIME_LIMIT, metadata=[("idempotency-key", key)])
            same = again.session_token == session.session_token
            print(f"recover, same key: the same session: {str(same).lower()}")
            # A session that there is not: Stytch refuses the call, and neither spends the code nor counts it as a wrong one.
            request.recovery_code, request.session_token = codes[-1], "of-no-session"
            try:
                service.Recover(request, timeout=TIME_LIMIT, metadata=[("idempotency-key", str(uuid.uuid4()))])
            except grpc.RpcError as error:
                print(f"recover, no such session: {describe(error)}")

        try:
            rotated = service.Rotate(
                pb.RotateRequest(organization_id=organization, member_id=member),
                timeout=TIME_LIMIT, metadata=[("idempotency-key", str(uuid.uuid4()))])
            print(f"rotate: done, {len(rotated.recovery_codes)} new codes")
        except grpc.RpcError as error:
            print(f"rotate: {describe(error)}")
            if outcome_of(error) == "unknown":
                print(f"resolve: {len(active())} codes are valid")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: main.py ORGANIZATION MEMBER")
    main(*sys.argv[1:])
