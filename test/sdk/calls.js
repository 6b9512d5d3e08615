// Makes the calls that it is told to with Stytch's SDK: it reads one a line, and for each writes a line with what the SDK
// returned or threw. It knows no case and judges nothing.
"use strict";

const readline = require("node:readline");
const { B2BClient, StytchError } = require("stytch");

async function make({ door, secret, api, method, params }) {
  const client = new B2BClient({
    project_id: process.env.STYTCH_PROJECT_ID,
    secret,
    env: door, // custom_base_url takes nothing but https
  });
  try {
    return { answer: await client[api][method](params) };
  } catch (error) {
    if (!(error instanceof StytchError)) {
      return { thrown: String(error) };
    }
    const { status_code, error_type, error_message, error_url, request_id } = error;
    return { error: { status_code, error_type, error_message, error_url, request_id } };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await make(JSON.parse(line))));
  }
}

main();
