package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

const (
	organizationID = "organization-test-5d0b1c9e-2f47-4b6a-9a51-c0ffee000001"
	memberID       = "member-test-7e1a44d2-0c38-4f0b-8d7e-c0ffee000002"
	path           = "/v1/b2b/recovery_codes/" + organizationID + "/" + memberID
)

// getRequest is the Get that a gRPC load sends.
func getRequest() grpcRequest {
	return frame(recoverycodesv1.RecoveryCodesService_Get_FullMethodName,
		&recoverycodesv1.GetRequest{OrganizationId: organizationID, MemberId: memberID})
}

// members is over how many members the Recovers are spread: attempts for one member are few, and count while they last.
const members = 10000

// recoverRequest is the Recover that a gRPC load sends. No two calls have the same key, in this run or another, and
// those that are open at once concern different members.
func recoverRequest() grpcRequest {
	request := frame(recoverycodesv1.RecoveryCodesService_Recover_FullMethodName, recoverMessage())
	digits := bytes.Index(request.message, []byte(memberID)) + len(memberID) - 4
	var next atomic.Int64
	next.Store(time.Now().UnixNano())
	request.vary = func(message []byte) (key string) {
		n := next.Add(1)
		for i, rest := 3, n%members; i >= 0; i, rest = i-1, rest/10 {
			message[digits+i] = byte('0' + rest%10)
		}
		return "bench-" + strconv.FormatInt(n, 36)
	}
	return request
}

func recoverMessage() *recoverycodesv1.RecoverRequest {
	return &recoverycodesv1.RecoverRequest{
		OrganizationId: organizationID, MemberId: memberID, RecoveryCode: "fake-code-aa01",
		SessionDurationMinutes: proto.Int32(60),
	}
}

// frame makes a message of gRPC: a byte for compression, the length, the encoding.
func frame(method string, message proto.Message) grpcRequest {
	encoded, err := proto.Marshal(message)
	if err != nil {
		panic(err) // the messages are constants of this file
	}
	framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(encoded)))
	return grpcRequest{
		method: method, message: append(framed, encoded...),
		headers: []hpack.HeaderField{{Name: "authorization", Value: "Bearer " + callerToken}},
	}
}

// prove makes one call of a row with an ordinary client and looks at the answer, so that no round measures how
// fast a server fails.
func (b *bench) prove(r *row, p *process) error {
	name := fmt.Sprint(r.server, r.door, r.size)
	if p == nil || b.proven[name] {
		return nil
	}
	b.proven[name] = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := b.rig.upstreams.plain.answer.Load().body
	switch {
	case r.door == byHTTP:
		return proveHTTP(ctx, p.http, want)
	case r.door == byGRPC && r.keyed:
		return proveRecover(ctx, p.grpc)
	case r.door == byGRPC:
		return proveGet(ctx, p.grpc, want)
	}
	return nil
}

func proveHTTP(ctx context.Context, address string, want []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+callerToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case bytes.Equal(body, want):
		return nil
	}
	// The straightforward façade writes its own JSON.
	var got struct {
		MemberID string `json:"member_id"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.MemberID != memberID {
		return fmt.Errorf("status %d and not the upstream's answer: %.200s", resp.StatusCode, body)
	}
	return nil
}

// dialProof returns an ordinary client, and the context of its calls.
func dialProof(ctx context.Context, address string) (context.Context, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+callerToken), conn, err
}

func proveGet(ctx context.Context, address string, upstream []byte) error {
	ctx, conn, err := dialProof(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	got, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(ctx,
		&recoverycodesv1.GetRequest{OrganizationId: organizationID, MemberId: memberID})
	if err != nil {
		return err
	}
	want := &recoverycodesv1.GetResponse{}
	if err := protojson.Unmarshal(upstream, want); err != nil {
		return err
	}
	if !proto.Equal(got, want) {
		return errors.New("the answer is not the upstream's")
	}
	return nil
}

func proveRecover(ctx context.Context, address string) error {
	ctx, conn, err := dialProof(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", "bench-proof")
	got, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Recover(ctx, recoverMessage())
	if err == nil && got.GetSessionToken() == "" {
		err = errors.New("no session in the answer")
	}
	return err
}
