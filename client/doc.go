// Package client is the Go client of the recovery-codes service. It knows the service's gRPC contract, how to keep a
// connection to it, and which calls may be sent twice; it knows nothing of the server's inside, of Stytch's REST API or
// of what a caller's credentials are good for.
//
// # Get may be repeated, Recover and Rotate may not
//
// Get changes nothing, and a Client tries it again by itself, at most twice, when it fails with UNAVAILABLE. Recover
// spends a code and mints a session; Rotate voids every code. A Client never sends these two again on the ground of
// their status, and a caller must not do it blindly either: the Outcome of the [Error] says what is known of a call that
// failed, and so whether it may be sent again.
//
// [WithKeyedRetries] is the exception, for whoever asks for it: Recover and Rotate then carry an idempotency key, and the
// Client sends a call that broke on the way again under its key, of which the service makes one effect. That holds
// only while all attempts reach the same store of keys: one server process, or servers that share a store.
//
// The way out of an unknown outcome is Get. After Recover, [Client.ResolveRecover] asks it whether the code is still
// active: if not, its session is lost, and another code is needed. After Rotate, Get returns whichever set is valid now.
// The service finishes a call that has left it even when the caller has gone, so after a deadline or a broken connection
// wait for [DefaultTimeout] before asking, or the answer may be older than the effect.
//
// gRPC itself may still resend a call of which it knows that no server has looked at it (its "transparent" retry, after
// REFUSED_STREAM or GOAWAY). That is safe for all three methods and is left on.
//
// # Who calls, and over what
//
// A connection is TLS, against the system's authorities or those of [WithCAFile]. A caller makes itself known by a client
// certificate, [WithCertificateFiles], or by a token, [WithToken] and [WithTokenFile]; files may be replaced while
// the program runs. Plaintext is by request only: [WithInsecure] on loopback, [WithMeshEncryption] where a sidecar
// encrypts.
//
// # Testing what calls the service
//
// Package clienttest runs the service itself inside a test, with an emulated Stytch behind it and faults at wish.
//
// # Use from another module
//
// The module path, recoverycodes.internal, is private: no server answers for it. A module that requires it needs a line
// in its go.mod that says where the source is, such as
//
//	replace recoverycodes.internal => ../recoverycodes
package client
