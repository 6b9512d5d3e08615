package interceptor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// headers takes what a call's answer is to have in its header as gRPC's own stream does, and keeps none of it.
type headers struct{ grpc.ServerTransportStream }

func (headers) SetHeader(md metadata.MD) error {
	_ = metadata.Join(nil, md)
	return nil
}

// BenchmarkLink is the price of each link by itself, and of each check within the last, around a handler that does
// nothing. The bench of the whole server (test/bench) runs it and puts it into its tables.
func BenchmarkLink(b *testing.B) {
	const token = "bench-token-of-no-value"
	hash := sha256.Sum256([]byte(token))
	log, err := telemetry.NewLog(io.Discard, "json", "info")
	if err != nil {
		b.Fatal(err)
	}
	defer log.End()
	lines, err := audit.Open(filepath.Join(b.TempDir(), "audit"), nil, audit.Options{Places: 1000})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = lines.Close(context.Background()) }()
	fingerprint, err := audit.NewFingerprinter([]byte(token))
	if err != nil {
		b.Fatal(err)
	}
	guard, err := access.NewGuard([]byte(strings.ReplaceAll(`callers:
  - name: bench
    match: { secret_sha256: "HASH" }
    methods: [Get]
    organizations: ["organization-test-1"]
    rate: { per_second: 1000000, burst: 1000000 }
`, "HASH", hex.EncodeToString(hash[:]))), access.Options{})
	if err != nil {
		b.Fatal(err)
	}
	chain := Chain{
		Calls: &InFlight{}, Observer: telemetry.NewObserver(log.Logger, lines), Guard: guard, Limit: 33 * time.Second,
		Audit: &Audit{Log: lines, Fingerprint: fingerprint, FailClosed: true},
	}
	info := &grpc.UnaryServerInfo{FullMethod: recoverycodesv1.RecoveryCodesService_Get_FullMethodName}
	req := &recoverycodesv1.GetRequest{OrganizationId: "organization-test-1", MemberId: "member-test-1"}
	incoming := grpc.NewContextWithServerTransportStream(
		metadata.NewIncomingContext(b.Context(), metadata.Pairs("authorization", "Bearer "+token)), headers{})

	type link struct {
		name string
		run  func(context.Context) (context.Context, error)
	}
	var links []link
	for i, name := range []string{"count", "identify", "observe", "recovery", "deadline", "checks"} {
		around := chain.Unary()[i]
		links = append(links, link{name, func(ctx context.Context) (context.Context, error) {
			_, err := around(ctx, req, info, func(context.Context, any) (any, error) { return req, nil })
			return ctx, err
		}})
	}
	if len(links) != len(chain.Unary()) {
		b.Fatalf("%d links and %d names", len(chain.Unary()), len(links))
	}
	// The checks need what those before them leave in the context.
	record := call.New(call.GRPC, "")
	record.Method, record.Outcome = info.FullMethod, call.Done
	ctx := call.NewContext(incoming, record)
	for _, c := range []struct {
		name  string
		check check
	}{
		{"check name", chain.Audit.name}, {"check admit", admit(guard)}, {"check decodable", decodable},
		{"check organization", organization}, {"check reserve", chain.Audit.reserve},
	} {
		before := ctx
		links = append(links, link{c.name, func(context.Context) (context.Context, error) { return result(c.check(before, req, info.FullMethod)) }})
		if ctx, err = result(c.check(ctx, req, info.FullMethod)); err != nil {
			b.Fatal(err)
		}
	}
	for _, l := range links {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := call.NewContext(incoming, record)
			if l.name == "identify" { // makes the record itself
				ctx = incoming
			}
			for b.Loop() {
				record.Reported = false // or only the first call would have its lines
				if _, err := l.run(ctx); err != nil {
					b.Fatal(err)
				}
				if record.Place != nil {
					record.Place.Release()
					record.Place = nil
				}
			}
		})
	}
}

// result makes an error of a refusal, which is nil as an interface when there is none.
func result(ctx context.Context, refusal *apierror.Error) (context.Context, error) {
	if refusal != nil {
		return ctx, refusal
	}
	return ctx, nil
}
