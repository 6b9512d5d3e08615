package mesh

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3" // for what the configuration has packed
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

const deploy = "../../deploy/mesh"

// once are the paths of what must not be sent twice, through either door.
var once = []string{
	recoverycodesv1.RecoveryCodesService_Recover_FullMethodName, recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName,
	"/v1/b2b/recovery_codes/recover", "/v1/b2b/recovery_codes/rotate",
}

// askForRetries are the headers by which a caller can have an Envoy send a call again, or more often.
var askForRetries = []string{
	"x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-retriable-status-codes",
	"x-envoy-retriable-header-names", "x-envoy-hedge-on-per-try-timeout", "x-envoy-upstream-rq-per-try-timeout-ms",
}

// documents are the YAML documents of a file, as JSON.
func documents(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document map[string]any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		converted, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, converted)
	}
}

// TestEnvoyConfiguration reads the bootstrap by Envoy's own schema and its rules, and looks at what it does with calls that must
// not be sent twice, and with who sent them. No Envoy has read it.
func TestEnvoyConfiguration(t *testing.T) {
	all := documents(t, "envoy.yaml")
	if len(all) != 1 {
		t.Fatalf("%d documents", len(all))
	}
	for _, fault := range envoyFaults(all[0]) {
		t.Error(fault)
	}
}

// TestEnvoyFaultsAreSeen changes one thing in the bootstrap at a time.
func TestEnvoyFaultsAreSeen(t *testing.T) {
	right := string(documents(t, "envoy.yaml")[0])
	for old, changed := range map[string]string{
		`"num_retries":0`:                   `"num_retries":1,"retry_on":"unavailable"`,
		`"retry_policy":{"num_retries":0}`:  `"priority":"DEFAULT"`,
		`"x-envoy-retry-on",`:               ``,
		`"timeout":"40s"`:                   `"timeout":"15s"`,
		`SANITIZE_SET`:                      `APPEND_FORWARD`,
		`{"uri":true}`:                      `{"subject":true}`,
		`"require_client_certificate":true`: `"require_client_certificate":false`,
		`Service/Rotate`:                    `Service/Rotates`,
		`"cluster":"rest"`:                  `"cluster":"none"`,
		`"stat_prefix":"grpc"`:              `"stat_prefix":""`,
		`"connect_timeout":"1s"`:            `"connect_timeout":"0s"`,
		`"codec_type"`:                      `"codectype"`,
		`"domains":["*"]`:                   `"domains":["*"],"retry_policy":{"retry_on":"5xx"}`,
	} {
		if text := strings.ReplaceAll(right, old, changed); text == right || len(envoyFaults([]byte(text))) == 0 {
			t.Errorf("%s instead of %s is not seen", changed, old)
		}
	}
}

// envoyFaults is what is wrong with a bootstrap.
func envoyFaults(text []byte) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	var bootstrap bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(text, &bootstrap); err != nil {
		return []string{err.Error()}
	}
	if err := valid(&bootstrap); err != nil {
		return []string{err.Error()}
	}
	clusters := make(map[string]bool)
	for _, cluster := range bootstrap.GetStaticResources().GetClusters() {
		clusters[cluster.GetName()] = true
	}
	var paths []string
	for _, listener := range bootstrap.GetStaticResources().GetListeners() {
		chain := listener.GetFilterChains()[0]
		var peer tlsv3.DownstreamTlsContext
		var manager hcmv3.HttpConnectionManager
		if err := errors.Join(chain.GetTransportSocket().GetTypedConfig().UnmarshalTo(&peer), chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(&manager)); err != nil {
			fault("%s: %v", listener.GetName(), err)
		}
		if !peer.GetRequireClientCertificate().GetValue() {
			fault("%s: serves whoever comes", listener.GetName())
		}
		if manager.GetForwardClientCertDetails() != hcmv3.HttpConnectionManager_SANITIZE_SET || !manager.GetSetCurrentClientCertDetails().GetUri() {
			fault("%s: does not say who calls", listener.GetName())
		}
		for _, host := range manager.GetRouteConfig().GetVirtualHosts() {
			if host.GetRetryPolicy() != nil {
				fault("%s: retries for all", host.GetName())
			}
			for _, name := range askForRetries {
				if !slices.Contains(host.GetRequestHeadersToRemove(), name) {
					fault("%s: obeys %s", host.GetName(), name)
				}
			}
			for _, route := range host.GetRoutes() {
				path, action := route.GetMatch().GetPath(), route.GetRoute()
				if !clusters[action.GetCluster()] {
					fault("%s: no such cluster", action.GetCluster())
				}
				if !slices.Contains(once, path) {
					continue
				}
				paths = append(paths, path)
				if policy := action.GetRetryPolicy(); policy.GetRetryOn() != "" || policy.GetNumRetries() == nil || policy.GetNumRetries().GetValue() != 0 {
					fault("%s: %v", path, policy)
				}
				if action.GetTimeout().AsDuration() < callTime {
					fault("%s: ends calls that the server still waits for", path)
				}
			}
		}
	}
	if !slices.Equal(paths, once) {
		fault("routes for %q, want %q", paths, once)
	}
	return faults
}

// valid holds a message, and all that is packed in it, to the rules of Envoy's API.
func valid(m proto.Message) error {
	if err := m.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
		return err
	}
	return protorange.Range(m.ProtoReflect(), func(values protopath.Values) error {
		last := values.Index(-1)
		if last.Step.Kind() != protopath.AnyExpandStep {
			return nil
		}
		return last.Value.Message().Interface().(interface{ ValidateAll() error }).ValidateAll()
	})
}

// resource is what the tests look at in a resource of Kubernetes.
type resource struct {
	Kind     string
	Metadata struct{ Annotations map[string]string }
	Spec     struct {
		HTTP []struct {
			Match   []struct{ URI struct{ Exact string } }
			Headers struct{ Request struct{ Remove []string } }
			Retries *struct {
				Attempts *int
				RetryOn  string
			}
		}
		ConfigPatches []struct {
			Patch struct{ Value json.RawMessage }
		}
		Ports []struct{ Name, AppProtocol string }
		Rules []struct {
			Matches []struct{ Method struct{ Method string } }
		}
	}
}

// resources are those of the given files, by kind.
func resources(t *testing.T, paths ...string) map[string][]resource {
	t.Helper()
	all := make(map[string][]resource)
	for _, path := range paths {
		for _, document := range documents(t, path) {
			var r resource
			if err := json.Unmarshal(document, &r); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			all[r.Kind] = append(all[r.Kind], r)
		}
	}
	return all
}

// TestIstioConfiguration looks at the resources for Istio: the routes of what must not be sent twice have no retries, no
// caller can ask for any, and what goes into Envoy is of its schema. No Istio has read them.
func TestIstioConfiguration(t *testing.T) {
	files, err := filepath.Glob(deploy + "/istio/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = "istio/" + filepath.Base(files[i])
	}
	all := resources(t, files...)
	kinds := slices.Sorted(maps.Keys(all))
	if want := []string{"DestinationRule", "EnvoyFilter", "PeerAuthentication", "Sidecar", "VirtualService"}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %q, want %q", kinds, want)
	}
	var paths []string
	for i, route := range all["VirtualService"][0].Spec.HTTP {
		for _, match := range route.Match {
			paths = append(paths, match.URI.Exact)
		}
		if attempts := route.Retries.Attempts; i == 0 && (attempts == nil || *attempts != 0) {
			t.Error("the first route has retries")
		}
		for _, name := range askForRetries {
			if !slices.Contains(route.Headers.Request.Remove, name) {
				t.Errorf("route %d obeys %s", i, name)
			}
		}
	}
	if !slices.Equal(paths, once) {
		t.Errorf("routes for %q, want %q", paths, once)
	}
	var filter listenerv3.Filter
	if err := protojson.Unmarshal(all["EnvoyFilter"][0].Spec.ConfigPatches[0].Patch.Value, &filter); err != nil {
		t.Fatal(err)
	}
	var manager hcmv3.HttpConnectionManager // not validated: it is a part, to be merged
	if err := filter.GetTypedConfig().UnmarshalTo(&manager); err != nil {
		t.Fatal(err)
	}
	if manager.GetForwardClientCertDetails() != hcmv3.HttpConnectionManager_SANITIZE_SET {
		t.Errorf("%v", &manager)
	}
}

// TestLinkerdConfiguration: no route has retries but that of Get, and the protocols are declared in Linkerd's words.
func TestLinkerdConfiguration(t *testing.T) {
	all := resources(t, "linkerd.yaml")
	for _, port := range all["Service"][0].Spec.Ports {
		if want := map[string]string{"grpc": "kubernetes.io/h2c", "http-rest": "http"}[port.Name]; port.AppProtocol != want {
			t.Errorf("%s: %q, want %q", port.Name, port.AppProtocol, want)
		}
	}
	if len(all["GRPCRoute"]) != 2 {
		t.Errorf("%d routes", len(all["GRPCRoute"]))
	}
	for _, route := range all["GRPCRoute"] {
		for name := range route.Metadata.Annotations {
			if method := route.Spec.Rules[0].Matches[0].Method.Method; strings.HasPrefix(name, "retry.") && (method != "Get" || len(route.Spec.Rules) != 1) {
				t.Errorf("%s on %q", name, method)
			}
		}
	}
	for _, r := range all["Service"] {
		if len(r.Metadata.Annotations) > 0 {
			t.Error("annotations of the Service are for all its calls")
		}
	}
}

// TestThePageNamesTests keeps docs/mesh.md from pointing at a test that is no more.
func TestThePageNamesTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/mesh.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	for _, pattern := range []string{"*_test.go", "../life/*_test.go", "../deploy/*_test.go", "../../server/internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tests = append(tests, text...)
		}
	}
	named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllSubmatch(page, -1)
	if len(named) < 10 {
		t.Errorf("%d tests are named", len(named))
	}
	for _, name := range named {
		if !bytes.Contains(tests, []byte("func "+string(name[1])+"(t ")) {
			t.Errorf("there is no %s", name[1])
		}
	}
}
