// Package contract holds the tests of the contract itself: the .proto files, the code and the OpenAPI document
// generated from them, and the checks that keep them from drifting. It knows no server and no client.
package contract

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// root is the repository, seen from this directory, in which go test runs the tests.
const root = "../.."

// ourPackages are the packages of the contract with the files of each.
var ourPackages = map[protoreflect.FullName][]string{
	"stytch.b2b.organizations.v1": {
		"stytch/b2b/organizations/v1/member.proto",
		"stytch/b2b/organizations/v1/organization.proto",
	},
	"stytch.b2b.recoverycodes.v1": {
		"stytch/b2b/recoverycodes/v1/error.proto",
		"stytch/b2b/recoverycodes/v1/recovery_codes.proto",
	},
	"stytch.b2b.scim.v1":      {"stytch/b2b/scim/v1/scim_attributes.proto"},
	"stytch.b2b.sessions.v1":  {"stytch/b2b/sessions/v1/member_session.proto"},
	"stytch.devicehistory.v1": {"stytch/devicehistory/v1/device_info.proto"},
	"stytch.sessions.v1": {
		"stytch/sessions/v1/authentication_factor.proto",
		"stytch/sessions/v1/factors.proto",
	},
}

// service returns the descriptor of the service as compiled into this binary; using it links all of the contract.
func service(t *testing.T) protoreflect.ServiceDescriptor {
	t.Helper()
	s := recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto.Services().ByName("RecoveryCodesService")
	if s == nil {
		t.Fatal("recovery_codes.proto has no service RecoveryCodesService")
	}
	return s
}

// compiledFiles returns the files of the contract as compiled into this binary, by path.
func compiledFiles(t *testing.T) map[string]protoreflect.FileDescriptor {
	t.Helper()
	files := make(map[string]protoreflect.FileDescriptor)
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "stytch/") {
			files[f.Path()] = f
		}
		return true
	})
	if len(files) == 0 {
		t.Fatal("no file of the contract is compiled in")
	}
	return files
}

// sourceFiles returns the paths of all .proto files, relative to proto/ and with slashes.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(filepath.Join(root, "proto")), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".proto") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("walk proto: %v", err)
	}
	return paths
}

// eachMessage calls visit for every message of a file, nested ones included.
func eachMessage(f protoreflect.FileDescriptor, visit func(protoreflect.MessageDescriptor)) {
	var walk func(protoreflect.MessageDescriptors)
	walk = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			visit(messages.Get(i))
			walk(messages.Get(i).Messages())
		}
	}
	walk(f.Messages())
}

// eachField calls visit for every field of every message of the contract.
func eachField(t *testing.T, visit func(protoreflect.FieldDescriptor)) {
	t.Helper()
	for _, f := range compiledFiles(t) {
		eachMessage(f, func(m protoreflect.MessageDescriptor) {
			for i := range m.Fields().Len() {
				visit(m.Fields().Get(i))
			}
		})
	}
}

// bufTool returns the path of the pinned buf. Without the tool the test is skipped, but in CI it fails.
func bufTool(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, ".ci/tools/bin/buf"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("RECOVERYCODES_CI") == "1" {
			t.Fatalf("%s is missing: run make tools", path)
		}
		t.Skipf("%s is missing: run make tools", path)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// runIn runs a program in a directory and returns what it wrote to both outputs, with the error of its exit status.
func runIn(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", program, err)
	}
	return string(out), err
}

// copyTree copies files and directories of the repository, named relative to its root, into dir.
func copyTree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, rel)
			if entry.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, content, info.Mode().Perm())
		})
		if err != nil {
			t.Fatalf("copy %s: %v", name, err)
		}
	}
}

// replaceOnce replaces old, which must stand in the file exactly once, by new.
func replaceOnce(t *testing.T, path, old, new string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), old); n != 1 {
		t.Fatalf("%s holds %q %d times, want once", path, old, n)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
