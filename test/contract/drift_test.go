package contract

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const (
	baseline     = ".ci/contract/baseline.binpb"
	serviceProto = "proto/stytch/b2b/recoverycodes/v1/recovery_codes.proto"
)

// checkVerdict compares what a check said, and the error of its exit status, with what it should report. A change
// that is allowed is reported as nothing.
func checkVerdict(t *testing.T, out string, err error, reports string) {
	t.Helper()
	switch {
	case reports == "" && err != nil:
		t.Errorf("refused: %v\n%s", err, out)
	case reports != "" && err == nil:
		t.Error("accepted")
	case !strings.Contains(out, reports):
		t.Errorf("the report does not name %s:\n%s", reports, out)
	}
}

// TestBreakingChangesAreRefused runs the check against the accepted contract, once as it is and once after each kind
// of change that would break a caller.
func TestBreakingChangesAreRefused(t *testing.T) {
	buf := bufTool(t)
	const (
		remaining = "  int32 recovery_codes_remaining = 7;\n"
		rotate    = "  rpc Rotate(RotateRequest) returns (RotateResponse);\n"
	)
	tests := []struct {
		name     string
		old, new string
		reports  string // part of what buf must say
	}{
		{name: "unchanged"},
		{name: "field added", old: remaining, new: remaining + "  string added = 100;\n"},
		{name: "field removed", old: remaining, reports: `"recovery_codes_remaining"`},
		{name: "field renamed", old: remaining, new: "  int32 remaining = 7;\n", reports: `"recovery_codes_remaining"`},
		{name: "field renumbered", old: remaining, new: "  int32 recovery_codes_remaining = 70;\n", reports: `"recovery_codes_remaining"`},
		{name: "type changed", old: remaining, new: "  int64 recovery_codes_remaining = 7;\n", reports: `"int64"`},
		{name: "presence lost", old: "  optional string telemetry_id = 9;\n", new: "  string telemetry_id = 9;\n", reports: `"telemetry_id"`},
		{name: "RPC removed", old: rotate, reports: `"Rotate"`},
		{name: "Get no longer free of effects", old: "NO_SIDE_EFFECTS", new: "IDEMPOTENT", reports: `"Get"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, dir, "proto", "buf.yaml", baseline)
			if tt.old != "" {
				replaceOnce(t, filepath.Join(dir, serviceProto), tt.old, tt.new)
			}
			out, err := runIn(t, dir, buf, "breaking", "--against", baseline)
			checkVerdict(t, out, err, tt.reports)
		})
	}
}

// TestStaleCodeIsRefused runs check-generate on a copy of the contract, once as it is and once with generated code
// that the .proto files do not yield.
func TestStaleCodeIsRefused(t *testing.T) {
	bufTool(t)
	const generated = "gen/go/stytch/devicehistory/v1/device_info.pb.go"
	type staleCode struct {
		name    string
		change  func(t *testing.T, dir string)
		reports string
	}
	tests := []staleCode{
		{name: "fresh", change: func(*testing.T, string) {}},
		{
			name: "proto changed",
			change: func(t *testing.T, dir string) {
				replaceOnce(t, filepath.Join(dir, serviceProto), "// GetResponse holds", "// GetResponse carries")
			},
			reports: "recovery_codes.swagger.json",
		},
		{
			name: "generated file edited",
			change: func(t *testing.T, dir string) {
				replaceOnce(t, filepath.Join(dir, generated), "package devicehistoryv1\n", "package devicehistoryv1 // by hand\n")
			},
			reports: "device_info.pb.go",
		},
		{
			name: "generated file missing",
			change: func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, generated)); err != nil {
					t.Fatal(err)
				}
			},
			reports: "device_info.pb.go",
		},
		{
			name: "left over from a removed proto",
			change: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "gen/go/stytch/old.pb.go"), []byte("package old\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			reports: "old.pb.go",
		},
	}
	if os.Getenv("RECOVERYCODES_CI") != "" { // the only place sure to have what generates these
		for _, generated := range []string{
			"gen/ts/src/stytch/devicehistory/v1/device_info_pb.js",
			"gen/python/src/recoverycodes/stytch/devicehistory/v1/device_info_pb2.py",
		} {
			tests = append(tests, staleCode{
				name: "removed from " + path.Dir(generated),
				change: func(t *testing.T, dir string) {
					if err := os.Remove(filepath.Join(dir, generated)); err != nil {
						t.Fatal(err)
					}
				},
				reports: path.Base(generated),
			})
		}
	}
	tools, err := filepath.Abs(filepath.Join(root, ".ci/tools"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, dir, "proto", "gen", "buf.yaml", "buf.gen.yaml", ".ci/check-generate", ".ci/polyglot")
			if err := os.Symlink(tools, filepath.Join(dir, ".ci/tools")); err != nil {
				t.Fatal(err)
			}
			tt.change(t, dir)
			out, err := runIn(t, dir, "./.ci/check-generate")
			checkVerdict(t, out, err, tt.reports)
		})
	}
}
