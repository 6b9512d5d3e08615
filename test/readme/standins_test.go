package readme

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// standIns returns a directory of programs that stand for others which this machine may lack.
func standIns(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "grpcurl"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// grpcurl does what the program of that name does with -plaintext -d JSON ADDRESS METHOD: it knows of the method nothing but
// what the server says by reflection.
func grpcurl(args []string) error {
	if len(args) != 5 || args[0] != "-plaintext" || args[1] != "-d" {
		return fmt.Errorf("usage: grpcurl -plaintext -d JSON ADDRESS METHOD, not %q", args)
	}
	service, name, _ := strings.Cut(args[4], "/")
	conn, err := grpc.NewClient(args[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	method, err := reflected(conn, service, name)
	if err != nil {
		return err
	}
	request, answer := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	if err := protojson.Unmarshal([]byte(args[2]), request); err != nil {
		return err
	}
	if err := conn.Invoke(context.Background(), "/"+args[4], request, answer); err != nil {
		return err
	}
	fmt.Println(protojson.Format(answer))
	return nil
}

// reflected asks the server for the descriptor of a method.
func reflected(conn *grpc.ClientConn, service, method string) (protoreflect.MethodDescriptor, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	request := &grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	}
	if err := stream.Send(request); err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, wire := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(wire, file); err != nil {
			return nil, err
		}
		set.File = append(set.File, file)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	of, ok := found.(protoreflect.ServiceDescriptor)
	if !ok || of.Methods().ByName(protoreflect.Name(method)) == nil {
		return nil, errors.New("no such method")
	}
	return of.Methods().ByName(protoreflect.Name(method)), nil
}

// prints returns what the README says that the examples in all languages print, and nothing for any other command.
func prints(t *testing.T, command string) string {
	t.Helper()
	if !regexp.MustCompile(`^(go run|node|\.venv/bin/python) .*member-test-`).MatchString(command) {
		return ""
	}
	m := regexp.MustCompile("(?s)```text\n(get: .*?)```").FindStringSubmatch(read(t, "README.md"))
	if m == nil {
		t.Fatal("the README does not say what the examples print")
	}
	return m[1]
}

// prepare makes a block run where not all registries can be reached. PyPI is a directory with the one package that is not
// ours and that Debian does not have; the others are Debian's.
func (s *stage) prepare(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(text, "pip install") {
		return
	}
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import grpc, google.protobuf, ensurepip, wheel").CombinedOutput(); err != nil {
		unavailable(t, "%v\n%s", err, out)
	}
	s.write(t, "googleapis_common_protos-1.0-py3-none-any.whl", string(wheel(t)))
	s.replace("python3 -m venv", python+" -m venv --system-site-packages")
	s.export("PIP_NO_INDEX=1", "PIP_FIND_LINKS="+s.dir, "PIP_NO_BUILD_ISOLATION=false", "PIP_DISABLE_PIP_VERSION_CHECK=1")
}

// wheel is the package googleapis-common-protos, or as much of it as describes errors.
func wheel(t *testing.T) []byte {
	t.Helper()
	files := map[string]string{
		"googleapis_common_protos-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: googleapis-common-protos\nVersion: 1.0\n",
		"googleapis_common_protos-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"googleapis_common_protos-1.0.dist-info/RECORD":   "",
	}
	for _, file := range []protoreflect.FileDescriptor{errdetails.File_google_rpc_error_details_proto, rpcstatus.File_google_rpc_status_proto} {
		wire, err := proto.Marshal(protodesc.ToFileDescriptorProto(file))
		if err != nil {
			t.Fatal(err)
		}
		module := strings.TrimSuffix(file.Path(), ".proto") + "_pb2"
		files[module+".py"] = fmt.Sprintf(`from google.protobuf import any_pb2, descriptor_pool, duration_pb2
from google.protobuf.internal import builder
DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(bytes.fromhex("%x"))
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "%s", globals())
`, wire, strings.ReplaceAll(module, "/", "."))
	}
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for name, text := range files {
		if file, err := archive.Create(name); err != nil {
			t.Fatal(err)
		} else if _, err := file.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
