package contract

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func TestPackages(t *testing.T) {
	got := make(map[protoreflect.FullName][]string)
	for path, f := range compiledFiles(t) {
		got[f.Package()] = append(got[f.Package()], path)
	}
	for _, paths := range got {
		slices.Sort(paths)
	}
	if diff := cmp.Diff(ourPackages, got); diff != "" {
		t.Errorf("packages and files (-want +got):\n%s", diff)
	}
}

// TestImports holds the promise that protoc alone compiles the contract.
func TestImports(t *testing.T) {
	for path, f := range compiledFiles(t) {
		for i := range f.Imports().Len() {
			imported := f.Imports().Get(i).Path()
			if !strings.HasPrefix(imported, "google/protobuf/") && !strings.HasPrefix(imported, "stytch/") {
				t.Errorf("%s imports %s, which callers would have to fetch", path, imported)
			}
		}
	}
}

// TestRPCs holds the names and shapes of the RPCs, and that only Get tells proxies and clients that it has no effect.
func TestRPCs(t *testing.T) {
	type rpc struct {
		Request, Response protoreflect.FullName
		Idempotency       descriptorpb.MethodOptions_IdempotencyLevel
		Streams           bool
	}
	const pkg = "stytch.b2b.recoverycodes.v1."
	want := map[protoreflect.Name]rpc{
		"Get":     {pkg + "GetRequest", pkg + "GetResponse", descriptorpb.MethodOptions_NO_SIDE_EFFECTS, false},
		"Recover": {pkg + "RecoverRequest", pkg + "RecoverResponse", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, false},
		"Rotate":  {pkg + "RotateRequest", pkg + "RotateResponse", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, false},
	}
	got := make(map[protoreflect.Name]rpc)
	methods := service(t).Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		options, ok := m.Options().(*descriptorpb.MethodOptions)
		if !ok {
			t.Fatalf("%s has options of type %T", m.FullName(), m.Options())
		}
		got[m.Name()] = rpc{
			Request:     m.Input().FullName(),
			Response:    m.Output().FullName(),
			Idempotency: options.GetIdempotencyLevel(),
			Streams:     m.IsStreamingClient() || m.IsStreamingServer(),
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RPCs (-want +got):\n%s", diff)
	}
	if name := service(t).FullName(); name != pkg+"RecoveryCodesService" {
		t.Errorf("the service is called %s", name)
	}
}

// secretFields are the fields whose values must never be shown.
var secretFields = []protoreflect.FullName{
	"stytch.b2b.recoverycodes.v1.GetResponse.recovery_codes",
	"stytch.b2b.recoverycodes.v1.RecoverRequest.intermediate_session_token",
	"stytch.b2b.recoverycodes.v1.RecoverRequest.recovery_code",
	"stytch.b2b.recoverycodes.v1.RecoverRequest.session_jwt",
	"stytch.b2b.recoverycodes.v1.RecoverRequest.session_token",
	"stytch.b2b.recoverycodes.v1.RecoverResponse.session_jwt",
	"stytch.b2b.recoverycodes.v1.RecoverResponse.session_token",
	"stytch.b2b.recoverycodes.v1.RotateResponse.recovery_codes",
}

// publicFields sound like secrets and are none.
var publicFields = []protoreflect.FullName{
	"stytch.b2b.organizations.v1.ActiveSCIMConnection.bearer_token_last_four",
	"stytch.b2b.organizations.v1.Member.member_password_id",
	"stytch.b2b.recoverycodes.v1.RecoverResponse.recovery_codes_remaining",
	"stytch.sessions.v1.RecoveryCodeFactor.totp_recovery_code_id",
	"stytch.sessions.v1.TrustedAuthTokenFactor.token_id",
}

// TestSecretsAreMarked holds that debug_redact marks the secrets and nothing else, and makes whoever adds a scalar
// that sounds like a secret decide which it is.
func TestSecretsAreMarked(t *testing.T) {
	soundsSecret := regexp.MustCompile(`code(s?)(_|$)|token|jwt|secret|password|credential|private|api_key`)
	harmless := regexp.MustCompile(`^(status|postal)_code$`)
	var marked []protoreflect.FullName
	eachField(t, func(f protoreflect.FieldDescriptor) {
		options, ok := f.Options().(*descriptorpb.FieldOptions)
		if !ok {
			t.Fatalf("%s has options of type %T", f.FullName(), f.Options())
		}
		name := string(f.Name())
		switch {
		case options.GetDebugRedact():
			marked = append(marked, f.FullName())
		case f.Message() != nil, !soundsSecret.MatchString(name), harmless.MatchString(name):
		case !slices.Contains(publicFields, f.FullName()):
			t.Errorf("%s sounds like a secret: mark it debug_redact, or list it in publicFields", f.FullName())
		}
	})
	slices.Sort(marked)
	if diff := cmp.Diff(secretFields, marked); diff != "" {
		t.Errorf("fields with debug_redact (-want +got):\n%s", diff)
	}
}

// TestTextsAreReviewed walks every text field of the contract: it is marked as a secret, or somebody has said that it is
// none.
func TestTextsAreReviewed(t *testing.T) {
	shown := readList(t, "testdata/shown.txt")
	var unmarked []string
	eachField(t, func(f protoreflect.FieldDescriptor) {
		if kind := f.Kind(); kind != protoreflect.StringKind && kind != protoreflect.BytesKind {
			return
		}
		if options, ok := f.Options().(*descriptorpb.FieldOptions); !ok || !options.GetDebugRedact() {
			unmarked = append(unmarked, string(f.FullName()))
		}
	})
	slices.Sort(unmarked)
	if diff := cmp.Diff(shown, unmarked); diff != "" {
		t.Errorf("mark the field debug_redact, or review it and list it in testdata/shown.txt (-listed +unmarked):\n%s", diff)
	}
}

// TestEverythingIsDescribed asks for a comment in front of each message, field, service and RPC, in whole sentences,
// and of bearable width.
func TestEverythingIsDescribed(t *testing.T) {
	buf := bufTool(t)
	image := filepath.Join(t.TempDir(), "contract.binpb")
	if out, err := runIn(t, root, buf, "build", "--as-file-descriptor-set", "-o", image); err != nil {
		t.Fatalf("buf build: %v\n%s", err, out)
	}
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(content, &set); err != nil {
		t.Fatalf("decode the output of buf build: %v", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}

	described := 0
	check := func(d protoreflect.Descriptor) {
		described++
		comment := strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments)
		switch {
		case comment == "":
			t.Errorf("%s has no comment", d.FullName())
		case !strings.HasSuffix(comment, "."):
			t.Errorf("the comment of %s does not end like a sentence: %q", d.FullName(), comment)
		}
		for line := range strings.Lines(comment) {
			if len(line) > 120 {
				t.Errorf("the comment of %s has a line of %d bytes", d.FullName(), len(line))
			}
		}
	}
	for path := range compiledFiles(t) {
		file, err := files.FindFileByPath(path)
		if err != nil {
			t.Errorf("%s is compiled in, but buf does not build it: %v", path, err)
			continue
		}
		eachMessage(file, func(m protoreflect.MessageDescriptor) {
			check(m)
			for i := range m.Fields().Len() {
				check(m.Fields().Get(i))
			}
		})
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			check(s)
			for j := range s.Methods().Len() {
				check(s.Methods().Get(j))
			}
		}
	}
	if described < len(readFieldList(t, "testdata/fields.txt")) {
		t.Errorf("only %d descriptors were looked at", described)
	}
}

// TestSourcesAreCompiledIn holds that gen/ has the code of every .proto file and of no other.
func TestSourcesAreCompiledIn(t *testing.T) {
	want := sourceFiles(t)
	got := slices.Sorted(maps.Keys(compiledFiles(t)))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf(".proto files and the descriptors in gen/ (-source +compiled):\n%s", diff)
	}
	for _, path := range want {
		endings := []string{".pb.go"}
		if f := compiledFiles(t)[path]; f != nil && f.Services().Len() > 0 {
			endings = append(endings, "_grpc.pb.go", ".pb.gw.go")
		}
		for _, ending := range endings {
			generated := filepath.Join(root, "gen/go", strings.TrimSuffix(path, ".proto")+ending)
			if _, err := os.Stat(generated); err != nil {
				t.Errorf("%s is not generated: %v", path, err)
			}
		}
	}
}
