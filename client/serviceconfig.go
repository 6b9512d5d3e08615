package client

// serviceConfig tells gRPC how to spread and repeat calls. Only Get carries a retry policy: three attempts in all, a
// jittered pause between them, and a throttle that stops the retries of a Client when more than a few of its calls fail
// in a row. Recover and Rotate are named without a policy, so that a default for the whole service, should one ever be
// added here, would not reach them.
//
// It is the only source: New also disables service configs from the resolver. With DNS such a config is a TXT record,
// and whoever writes TXT records could otherwise have Recover sent five times. A control plane of xDS is the exception: it is
// trusted to route, and there is no xDS without what it says.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [
    {
      "name": [{"service": "stytch.b2b.recoverycodes.v1.RecoveryCodesService", "method": "Get"}],
      "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    },
    {
      "name": [
        {"service": "stytch.b2b.recoverycodes.v1.RecoveryCodesService", "method": "Recover"},
        {"service": "stytch.b2b.recoverycodes.v1.RecoveryCodesService", "method": "Rotate"}
      ]
    }
  ],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
}`
