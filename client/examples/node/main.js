// A complete caller of the recovery-codes service in Node, against the sandbox that `make run` starts. It reads a
// member's codes, spends one, and replaces them all:
//
//   npm ci && node main.js example-org member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfo } from "nice-grpc-error-details";
import { RecoveryCodesService } from "recoverycodes";

// More than the 31 seconds that the service gives one call, so that its verdict arrives before we give up.
const timeLimit = 35_000;

// [retries]
// Get may be sent again. Recover and Rotate must not. Connect for Node sends nothing again by itself.
const attempts = 3;
const retryGet = (next) => async (request) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      const unavailable = ConnectError.from(error).code === Code.Unavailable;
      if (request.method !== RecoveryCodesService.method.get || !unavailable || attempt === attempts) {
        throw error;
      }
      await sleep(100 * 2 ** (attempt - 1) * (0.5 + Math.random()), undefined, { signal: request.signal });
    }
  }
};
// [/retries]

// [connect]
// A program needs one client, made at start.
function connect() {
  const server = process.env.RECOVERYCODES_SERVER ?? "127.0.0.1:50051";
  const caFile = process.env.RECOVERYCODES_CA_FILE;
  if (caFile === undefined) {
    const transport = createGrpcTransport({ baseUrl: `http://${server}`, interceptors: [retryGet] }); // for loopback
    return createClient(RecoveryCodesService, transport);
  }
  const authorize = (next) => (request) => {
    request.header.set("authorization", `Bearer ${process.env.RECOVERYCODES_TOKEN}`);
    return next(request);
  };
  return createClient(RecoveryCodesService, createGrpcTransport({
    baseUrl: `https://${server}`,
    nodeOptions: { ca: readFileSync(caFile) },
    interceptors: [retryGet, authorize],
  }));
}
// [/connect]

// [errors]
// The google.rpc.ErrorInfo of the service or of Stytch in a ConnectError, if there is one.
function errorInfo(error) {
  return error.details
    .filter((detail) => detail.type === "google.rpc.ErrorInfo")
    .map((detail) => ErrorInfo.decode(detail.value))
    .find((info) => info.domain === "recoverycodes.internal" || info.domain === "stytch.com");
}

const refusals = new Set([
  Code.InvalidArgument, Code.NotFound, Code.AlreadyExists, Code.PermissionDenied, Code.FailedPrecondition,
  Code.OutOfRange, Code.Unimplemented, Code.Unauthenticated, Code.ResourceExhausted, Code.Internal,
]);

// What is known of a Recover or Rotate that failed: "refused", "not sent" or "unknown".
function outcomeOf(error) {
  const info = errorInfo(error);
  if (info === undefined) {
    return "unknown"; // made on the way, by the library or a proxy: the call may have passed
  }
  if (info.domain === "recoverycodes.internal") {
    switch (info.reason) {
      case "NOT_SENT":
        return "not sent";
      case "OUTCOME_UNKNOWN":
      case "ANSWER_LOST":
      case "INTERNAL":
        return "unknown";
    }
  }
  return refusals.has(error.code) ? "refused" : "unknown";
}
// [/errors]

function describe(error) {
  const info = errorInfo(error);
  return info === undefined ? outcomeOf(error) : `${outcomeOf(error)}, ${info.reason}`;
}

function options(key) {
  return { timeoutMs: timeLimit, headers: { "idempotency-key": key } };
}

async function main(organizationId, memberId) {
  const service = connect();
  const active = async () => (await service.get({ organizationId, memberId }, { timeoutMs: timeLimit })).recoveryCodes;

  const codes = await active();
  console.log(`get: ${codes.length} active codes`);

  // [recover]
  const request = { organizationId, memberId, recoveryCode: codes[0] };
  const key = randomUUID(); // one for each attempt of a person
  let session;
  try {
    session = await service.recover(request, options(key));
    console.log(`recover: done, ${session.recoveryCodesRemaining} codes left`);
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    console.log(`recover: ${describe(error)}`);
    if (outcomeOf(error) === "unknown") { // never send it again; Get tells
      const state = (await active()).includes(codes[0]) ? "active" : "inactive";
      console.log(`resolve: the code is ${state}`); // active is final only after the service's 31 seconds
    }
  }
  // [/recover]

  if (session !== undefined) {
    // The same key and request is the same call: it is answered again, and spends nothing.
    const again = await service.recover(request, options(key));
    console.log(`recover, same key: the same session: ${again.sessionToken === session.sessionToken}`);
    // A session that there is not: Stytch refuses the call, and neither spends the code nor counts it as a wrong one.
    try {
      await service.recover({ organizationId, memberId, recoveryCode: codes.at(-1), sessionToken: "of-no-session" }, options(randomUUID()));
    } catch (thrown) {
      console.log(`recover, no such session: ${describe(ConnectError.from(thrown))}`);
    }
  }

  try {
    const rotated = await service.rotate({ organizationId, memberId }, options(randomUUID()));
    console.log(`rotate: done, ${rotated.recoveryCodes.length} new codes`);
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    console.log(`rotate: ${describe(error)}`);
    if (outcomeOf(error) === "unknown") {
      console.log(`resolve: ${(await active()).length} codes are valid`);
    }
  }
}

if (process.argv.length !== 4) {
  console.error("usage: main.js ORGANIZATION MEMBER");
  process.exit(2);
}
await main(process.argv[2], process.argv[3]);
