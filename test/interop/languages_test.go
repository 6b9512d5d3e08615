package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A language is an example and how it is made ready. What it needs is what .ci/install installs.
type language struct {
	name string
	// prepare makes the example ready in an empty directory, and returns the command that runs it, without the
	// arguments, and what is added to its environment.
	prepare func(dir string) (command, env []string, err error)
}

var languages = []language{
	{"Go", prepareGo},
	{"Node", prepareNode},
	{"Python", preparePython},
	{"Ruby", prepareRuby},
}

const root = "../.."

func prepareGo(dir string) ([]string, []string, error) {
	binary := filepath.Join(dir, "example")
	return []string{binary}, nil, quiet("", "go", "build", "-o", binary, root+"/client/examples/go")
}

// prepareNode installs the example and the generated package, as it would be published, beside copies of both, since what
// npm installs has no place in the work tree.
func prepareNode(dir string) ([]string, []string, error) {
	for _, path := range []string{"client/examples/node", "gen/ts"} {
		if err := copyTree(filepath.Join(dir, path), filepath.Join(root, path)); err != nil {
			return nil, nil, err
		}
	}
	example := filepath.Join(dir, "client", "examples", "node")
	err := quiet(example, "npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund",
		"--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000") // milliseconds; without them, a minute until it gives up
	return []string{"node", filepath.Join(example, "main.js")}, nil, err
}

// python is Debian's own interpreter, for which Debian packages gRPC.
const python = "/usr/bin/python3"

// preparePython builds the wheel that would be published and unpacks it, which is how it is installed. It makes google.rpc,
// which callers have from the package googleapis-common-protos and Debian 12 does not package.
func preparePython(dir string) ([]string, []string, error) {
	if err := quiet("", python, "-c", "import grpc"); err != nil {
		return nil, nil, err
	}
	source, path := filepath.Join(dir, "source"), filepath.Join(dir, "installed")
	if err := copyTree(source, filepath.Join(root, "gen", "python")); err != nil {
		return nil, nil, err
	}
	if err := quiet(source, python, "-c", "from setuptools import build_meta; build_meta.build_wheel('..')"); err != nil {
		return nil, nil, err
	}
	wheel, err := only(dir, "recoverycodes-*-py3-none-any.whl")
	if err != nil {
		return nil, nil, err
	}
	if err := quiet("", python, "-m", "zipfile", "-e", wheel, path); err != nil {
		return nil, nil, err
	}
	if quiet("", python, "-c", "import google.rpc.error_details_pb2") != nil {
		if err := protoc(dir, []string{"--python_out=" + dir}, errdetails.File_google_rpc_error_details_proto, rpcstatus.File_google_rpc_status_proto); err != nil {
			return nil, nil, err
		}
		path += ":" + dir
	}
	return []string{python, root + "/client/examples/python/main.py"}, []string{"PYTHONPATH=" + path, "PYTHONDONTWRITEBYTECODE=1"}, nil
}

func prepareRuby(dir string) ([]string, []string, error) {
	if err := quiet("", "ruby", "-e", "require 'grpc'"); err != nil {
		return nil, nil, err
	}
	plugin, err := exec.LookPath("grpc_ruby_plugin")
	if err != nil {
		return nil, nil, err
	}
	err = protoc(dir, []string{"--ruby_out=" + dir, "--grpc_out=" + dir, "--plugin=protoc-gen-grpc=" + plugin},
		recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto)
	return []string{"ruby", "-I", dir, root + "/client/examples/ruby/main.rb"}, nil, err
}

// protoc generates code of the files and of what they import, but for protobuf's own. It is given descriptors, since
// the parser of Debian 12's protoc does not know debug_redact.
func protoc(dir string, args []string, files ...protoreflect.FileDescriptor) error {
	set := &descriptorpb.FileDescriptorSet{}
	var generate []string
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i))
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
		if !strings.HasPrefix(file.Path(), "google/protobuf/") {
			generate = append(generate, file.Path())
		}
	}
	for _, file := range files {
		add(file)
	}
	wire, err := proto.Marshal(set)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "set.binpb")
	if err := os.WriteFile(path, wire, 0o600); err != nil {
		return err
	}
	return quiet("", "protoc", append(append(args, "--descriptor_set_in="+path), generate...)...)
}

// quiet runs a command of which only a failure is of interest.
func quiet(dir, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

// copyTree copies what is no product of npm.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.Name() == "node_modules":
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}

// only returns the one file that a pattern matches.
func only(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: there are %q", pattern, found)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// prepared is a language that is ready, or why it is not.
type prepared struct {
	command, env []string
	err          error
}

var (
	ready    sync.Map // name -> func() prepared
	products string   // where they are made ready; TestMain removes it
)

// eachLanguage runs a test in every language at once.
func eachLanguage(t *testing.T, test func(t *testing.T, example *example)) {
	for _, l := range languages {
		l.run(t, test)
	}
}

// run runs a test in the language, beside those in others. If this machine does not have it, it is skipped, but not in CI.
func (l language) run(t *testing.T, test func(t *testing.T, example *example)) {
	t.Run(l.name, func(t *testing.T) {
		t.Parallel()
		once, _ := ready.LoadOrStore(l.name, sync.OnceValue(func() (p prepared) {
			dir := filepath.Join(products, l.name)
			if p.err = os.Mkdir(dir, 0o700); p.err == nil {
				p.command, p.env, p.err = l.prepare(dir)
			}
			return p
		}))
		p := once.(func() prepared)()
		if p.err != nil {
			if os.Getenv("RECOVERYCODES_CI") != "" {
				t.Fatal(p.err)
			}
			t.Skip(p.err)
		}
		test(t, &example{strings.ToLower(l.name), p})
	})
}

// An example is a program that can be run.
type example struct {
	name string
	prepared
}

// runLimit is above what any case takes, pauses before retries included.
const runLimit = 60 * time.Second

// run runs the example against a server and returns what it has written to standard output.
func (e *example) run(t *testing.T, server, member string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	command := exec.CommandContext(ctx, e.command[0], append(e.command[1:len(e.command):len(e.command)], organization, member)...)
	command.Env = append(append(os.Environ(), append(e.env, env...)...), "RECOVERYCODES_SERVER="+server)
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("%v\n%s%s", err, out, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
