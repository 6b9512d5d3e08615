package deploy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

const (
	callerSecret = "a-caller-of-the-tests"
	adminToken   = "a-token-of-the-admin-door-of-the-tests"

	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
)

// cluster is what a pod finds when it starts: its Secrets and ConfigMaps by name and key.
type cluster struct {
	data    map[string]string
	trusted *x509.CertPool // of the certificate in its Secret
}

func newCluster(t *testing.T, rendered, redisURL string) cluster {
	t.Helper()
	policy := fmt.Sprintf("callers: [{name: test, match: {secret_sha256: %x}, methods: [Get, Recover, Rotate], organizations: ['*']}]",
		sha256.Sum256([]byte(callerSecret)))
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // for its certificate
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pemText("CERTIFICATE", server.Certificate().Raw)
	c := cluster{trusted: x509.NewCertPool(), data: map[string]string{
		"stytch/secret":                      "secret-test-sandbox\n",
		"stytch/project-secret":              "secret-test-sandbox\n",
		"recoverycodes-admin/token":          adminToken + "\n",
		"recoverycodes-redis/url":            redisURL,
		"recoverycodes-store/secret":         "a-secret-of-the-stores-of-the-tests\n",
		"recoverycodes-callers/policy.yaml":  policy,
		"recoverycodes-callers/callers.yaml": policy,
		"recoverycodes-tls/tls.crt":          certificate,
		"recoverycodes-tls/tls.key":          pemText("PRIVATE KEY", key),
		"callers-ca/ca.crt":                  certificate,
	}}
	c.trusted.AddCert(server.Certificate())
	for _, m := range manifests(t, rendered) {
		if m.Kind == "ConfigMap" {
			for key, text := range m.Data {
				c.data[m.Metadata.Name+"/"+key] = text
			}
		}
	}
	return c
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (c cluster) read(t *testing.T, name, key string) string {
	t.Helper()
	text, ok := c.data[name+"/"+key]
	if !ok {
		t.Fatalf("the pod wants %s of %s, which the test does not have", key, name)
	}
	return text
}

// start runs the binary as Kubernetes would run the pod, but for two things: what is mounted is in a directory of the
// test, and the doors are on free ports of loopback.
func (c cluster) start(t *testing.T, p pod) *daemon.Daemon {
	t.Helper()
	dir := t.TempDir()
	files := make(map[string][]item)
	origin := make(map[string]string)
	for _, volume := range p.Volumes {
		files[volume.Name] = slices.Concat(volume.Secret.Items, volume.ConfigMap.Items)
		origin[volume.Name] = volume.Secret.Name + volume.ConfigMap.Name
	}
	main := p.Containers[0]
	for _, mount := range main.Mounts {
		at := filepath.Join(dir, mount.Path)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if len(files[mount.Name]) == 0 {
			t.Errorf("%s is mounted and holds nothing", mount.Name)
		}
		for _, file := range files[mount.Name] {
			if err := os.WriteFile(filepath.Join(at, file.Path), []byte(c.read(t, origin[mount.Name], file.Key)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(main.Command) != 0 || main.Args[0] != "serve" {
		t.Fatalf("%q %q is not what the image runs", main.Command, main.Args)
	}
	ports := make(map[string]string)
	for _, port := range main.Ports {
		ports[port.Name] = port.Port
	}
	var args []string
	for _, arg := range main.Args[1:] {
		flag, value, _ := strings.Cut(arg, "=")
		if door, ok := strings.CutSuffix(strings.TrimPrefix(flag, "--"), "-listen"); ok {
			host, port, err := net.SplitHostPort(value)
			if err != nil || host != "" || port != ports[door] {
				t.Errorf("%s, but the pod's port %s is %s", arg, door, ports[door])
			}
			delete(ports, door)
			continue // daemon puts free ports there
		}
		if strings.HasPrefix(value, "/") {
			value = filepath.Join(dir, value)
		}
		args = append(args, flag+"="+value)
	}
	if len(ports) != 0 {
		t.Errorf("nobody listens on %v", ports)
	}
	var env []string
	for _, variable := range main.Env {
		value := variable.Value
		if from := variable.From.Secret; from.Name != "" {
			value = c.read(t, from.Name, from.Key)
		}
		env = append(env, variable.Name+"="+value)
	}
	return daemon.Start(t, env, args...)
}

// sandboxed renders a preset for an emulated Stytch.
func sandboxed(t *testing.T, preset string, args ...string) string {
	t.Helper()
	stytch := daemon.StartSandbox(t, false)
	return render(t, preset, append([]string{
		"--set=settings.stytch-project-id=project-test-00000000-0000-4000-8000-000000000000", "--set=settings.stytch-base-url=" + stytch.URL,
	}, args...)...)
}

// TestPods starts the binary with what each preset renders, asks what the probes ask, and makes a call.
func TestPods(t *testing.T) {
	t.Parallel()
	for _, preset := range presets {
		t.Run(preset, func(t *testing.T) {
			rendered := sandboxed(t, preset)
			redisURL := ""
			if strings.Contains(rendered, "recoverycodes-redis") {
				redisURL = daemon.StartRedis(t).URL()
			}
			p := podOf(t, rendered)
			c := newCluster(t, rendered, redisURL)
			d := c.start(t, p)

			for name, probe := range map[string]probe{"liveness": p.Containers[0].Liveness, "readiness": p.Containers[0].Readiness} {
				if status := statusOf(t, d.Admin+probe.Get.Path, ""); status != http.StatusOK || probe.Get.Port != "admin" {
					t.Errorf("%s at %s of %s: %d", name, probe.Get.Path, probe.Get.Port, status)
				}
			}
			if status := statusOf(t, d.Admin+"/metrics", ""); status != http.StatusUnauthorized {
				t.Errorf("the metrics for everybody: %d", status)
			}
			status, text := fetch(t, d.Admin+"/metrics", adminToken)
			if status != http.StatusOK {
				t.Errorf("the metrics: %d", status)
			}
			leavesRoom(t, text, p.Containers[0].Resources.Limits.Memory)
			peer := insecure.NewCredentials()
			if preset == "production" {
				peer = credentials.NewTLS(&tls.Config{RootCAs: c.trusted, ServerName: "example.com"})
			}
			if err := get(t, d.DialWith(t, peer)); err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial("tcp", d.HTTP); err != nil {
				t.Error(err)
			} else {
				_ = conn.Close()
			}
		})
	}
}

// get asks for the codes of a member, as the caller that the policy knows.
func get(t *testing.T, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+callerSecret)
	_, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member})
	return err
}

// leavesRoom looks whether the garbage collector's limit is below the container's, by a tenth at least for what is not the
// collector's to free: otherwise the kernel ends the process before the collector does anything about it.
func leavesRoom(t *testing.T, metrics, container string) {
	t.Helper()
	mebibytes, err := strconv.ParseFloat(strings.TrimSuffix(container, "Mi"), 64)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(metrics, "\ngo_gc_gomemlimit_bytes ")
	value, _, _ := strings.Cut(rest, "\n")
	limit, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatal(err)
	}
	if limit > 0.9*mebibytes*(1<<20) {
		t.Errorf("the garbage collector keeps below %.0f MiB, the container has %s", limit/(1<<20), container)
	}
}

func statusOf(t *testing.T, address, token string) int {
	t.Helper()
	status, _ := fetch(t, address, token)
	return status
}

func fetch(t *testing.T, address, token string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

// TestPodStopsInTime stops a pod that has all to do that a stop can have: a call at Stytch that takes longer than it may, and
// somebody who watches. It ends by itself before the grace period that was rendered for its settings is over.
func TestPodStopsInTime(t *testing.T) {
	t.Parallel()
	rendered := sandboxed(t, "none", "--set=settings.drain-delay=500ms,settings.drain-timeout=1s,settings.upstream-timeout=3s")
	p := podOf(t, rendered)
	d := newCluster(t, rendered, "").start(t, p)
	conn := d.Dial(t)
	if watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	} else if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+callerSecret)
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{}, recoverycodesv1.RecoveryCodesService_Recover_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	request := &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: "member-test-fault-slow-600000", RecoveryCode: "sand-b0xc-ode1"}
	if err := call.SendMsg(request); err != nil {
		t.Fatal(err)
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Header(); err != nil { // it is about to leave
		t.Fatal(err)
	}
	start := time.Now()
	d.Signal(t, syscall.SIGTERM)
	code := d.Wait(t)
	took, grace := time.Since(start), time.Duration(p.Grace)*time.Second
	if code != 0 || took > grace-4*time.Second {
		t.Errorf("exit code %d after %v of %v\n%s", code, took, grace, d.Log())
	}
	if took < 2*time.Second {
		t.Errorf("the call was not waited for: %v\n%s", took, d.Log())
	}
}
