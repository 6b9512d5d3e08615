package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const chart = root + "/deploy/chart"

// presets are the values that are rendered, by the names of their files.
var presets = []string{"none", "sandbox", "istio", "linkerd", "production"}

func values(preset string) string { return filepath.Join("testdata", "values", preset+".yaml") }

// render returns the chart's manifests with the values of a preset and more arguments of helm.
func render(t *testing.T, preset string, args ...string) string {
	t.Helper()
	return output(t, ".", tool(t, "helm"), append([]string{"template", "recoverycodes", chart, "--namespace=login", "--values", values(preset)}, args...)...)
}

func TestLint(t *testing.T) {
	for _, preset := range presets {
		t.Run(preset, func(t *testing.T) {
			output(t, ".", tool(t, "helm"), "lint", "--strict", "--quiet", chart, "--values", values(preset))
		})
	}
}

// TestGolden compares what is rendered with what somebody has looked at.
func TestGolden(t *testing.T) {
	for _, preset := range presets {
		t.Run(preset, func(t *testing.T) {
			got := render(t, preset)
			path := filepath.Join("testdata", "golden", preset+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-golden +rendered (go test ./test/deploy -update):\n%s", diff)
			}
		})
	}
}

// TestRefusals: what would break a promise, or end every pod at its start, is not installed.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		preset string
		set    []string
		want   string // empty when it is rendered
	}{
		"two replicas without a Redis":         {"none", []string{"replicas=2"}, "up to 2 replicas would not share idempotency keys"},
		"two replicas, accepted":               {"none", []string{"replicas=2", "idempotency.shared=false"}, ""},
		"two replicas with a Redis":            {"none", []string{"replicas=2", "secrets.redisURL.name=r", "secrets.store.name=s"}, ""},
		"two replicas with a Redis by setting": {"none", []string{"replicas=2", "settings.once-redis-url=redis://r:6379/0", "secrets.store.name=s"}, ""},
		"autoscaled without a Redis":           {"none", []string{"autoscaling.enabled=true"}, "up to 6 replicas would not share idempotency keys"},
		"autoscaled to one":                    {"none", []string{"autoscaling.enabled=true", "autoscaling.minReplicas=1", "autoscaling.maxReplicas=1"}, ""},
		"a Redis that can read":                {"none", []string{"secrets.redisURL.name=r"}, "secrets.store: is required"},
		"a password among the arguments":       {"none", []string{"settings.once-redis-url=redis://u:p@r:6379/0", "secrets.store.name=s"}, "holds a password"},
		"no image":                             {"none", []string{"image.repository="}, "image.repository: is required"},
		"no project":                           {"none", []string{"settings.stytch-project-id="}, "settings.stytch-project-id: is required"},
		"no secret of the project":             {"none", []string{"secrets.stytch.name="}, "secrets.stytch: is required"},
		"no policy":                            {"none", []string{"policy.content=null"}, "policy: is required"},
		"no policy, on purpose":                {"none", []string{"policy.content=null", "settings.insecure-allow-any-caller=true"}, ""},
		"an admin door for everybody":          {"none", []string{"secrets.adminToken.name="}, "secrets.adminToken: is required"},
		"a setting that there is not":          {"none", []string{"settings.drain=5s"}, "additional properties 'drain' not allowed"},
		"a value that there is not":            {"none", []string{"replicaCount=2"}, "additional properties 'replicaCount' not allowed"},
		"the secret itself":                    {"none", []string{"environment.STYTCH_SECRET=x"}, "additional properties 'STYTCH_SECRET' not allowed"},
		"no duration":                          {"none", []string{"settings.drain-delay=5"}, "/settings/drain-delay"},
		"no level of the log":                  {"none", []string{"settings.log-level=loud"}, "/settings/log-level"},
		"a mesh that nobody knows":             {"none", []string{"mesh=consul"}, "/mesh"},
		"doors on sockets":                     {"none", []string{"settings.grpc-listen=unix:/run/a", "settings.http-listen=unix:/run/b"}, ""},
		"probes on a socket":                   {"none", []string{"settings.admin-listen=unix:/run/a"}, "settings.admin-listen: must have a port"},
		"probes on loopback":                   {"none", []string{"settings.admin-listen=127.0.0.1:9464"}, "settings.admin-listen: must be reached from outside"},
		"probes on loopback by name":           {"none", []string{"settings.admin-listen=localhost:9464"}, "settings.admin-listen: must be reached from outside"},
		"probes on another address":            {"none", []string{"settings.admin-listen=0.0.0.0:9464"}, ""},
		"a setting behind the chart's back":    {"none", []string{"extraEnv[0].name=RECOVERYCODES_DRAIN_DELAY", "extraEnv[0].value=5m"}, "extraEnv: RECOVERYCODES_DRAIN_DELAY is a setting"},
		"the secret as a variable":             {"none", []string{"extraEnv[0].name=STYTCH_SECRET", "extraEnv[0].value=x"}, "extraEnv: STYTCH_SECRET is a setting"},
		"a variable of Go's":                   {"none", []string{"extraEnv[0].name=GOGC", "extraEnv[0].value=off"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := try(".", tool(t, "helm"), "template", "x", chart, "--values", values(c.preset), "--set", strings.Join(c.set, ","))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%v\n%s", err, stderr)
			case c.want != "" && (err == nil || !strings.Contains(stderr, c.want)):
				t.Errorf("want %q\n%v\n%s%s", c.want, err, stderr, stdout)
			}
		})
	}
}

// TestHardened looks at what must hold whatever the values.
func TestHardened(t *testing.T) {
	for _, preset := range presets {
		t.Run(preset, func(t *testing.T) {
			pod := podOf(t, render(t, preset))
			c := pod.Containers[0]
			if !pod.Security.NonRoot || pod.Security.User == 0 || pod.Security.Seccomp.Type != "RuntimeDefault" || pod.ServiceLinks == nil || *pod.ServiceLinks {
				t.Errorf("the pod: %+v", pod.Security)
			}
			if c.Security.Escalation == nil || *c.Security.Escalation || !c.Security.ReadOnly || !cmp.Equal(c.Security.Capabilities.Drop, []string{"ALL"}) {
				t.Errorf("the container: %+v", c.Security)
			}
			if pod.Token == nil || *pod.Token != (preset == "production") {
				t.Errorf("a token of the service account: %v", pod.Token)
			}
			for _, volume := range pod.Volumes {
				if volume.Secret.Name != "" && volume.Secret.Mode != 0o440 {
					t.Errorf("%s has the mode %o", volume.Name, volume.Secret.Mode)
				}
			}
		})
	}
}

// TestPortsOfAMesh has the cases that no golden file has: doors that speak TLS themselves in a mesh.
func TestPortsOfAMesh(t *testing.T) {
	for mesh, want := range map[string]map[string]string{
		"istio":   {"grpc": "tls", "http": "https"},
		"linkerd": {"grpc": "", "http": "https"},
	} {
		t.Run(mesh, func(t *testing.T) {
			got := make(map[string]string)
			for _, m := range manifests(t, render(t, mesh, "--set=secrets.tls.name=t")) {
				if m.Kind == "Service" {
					for _, port := range m.Spec.Ports {
						got[port.Name] = port.Protocol
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGracePeriod: what the drain settings add up to, rounded up, 6 s for what follows and 4 s to spare.
func TestGracePeriod(t *testing.T) {
	for name, c := range map[string]struct {
		set  string
		want int
	}{
		"the defaults":        {"", 5 + 10 + 31 + 6 + 4},
		"no delay":            {"settings.drain-delay=0s", 10 + 31 + 6 + 4},
		"minutes and halves":  {"settings.drain-timeout=1m0.5s,settings.upstream-timeout=2m", 5 + 61 + 120 + 6 + 4},
		"hours":               {"settings.upstream-timeout=1h1m1s", 5 + 10 + 3661 + 6 + 4},
		"milliseconds add up": {"settings.drain-delay=1ms,settings.drain-timeout=999ms,settings.upstream-timeout=1000ms", 2 + 6 + 4},
		"micro- and nano-":    {"settings.drain-delay=1us1ns,settings.drain-timeout=1s,settings.upstream-timeout=1s", 3 + 6 + 4},
	} {
		t.Run(name, func(t *testing.T) {
			if got := podOf(t, render(t, "none", "--set="+c.set)).Grace; got != c.want {
				t.Errorf("%d s, want %d s", got, c.want)
			}
		})
	}
}

// manifest is what the tests read of an object of Kubernetes.
type manifest struct {
	Kind     string                `yaml:"kind"`
	Metadata struct{ Name string } `yaml:"metadata"`
	Data     map[string]string     `yaml:"data"`
	Spec     struct {
		Ports []struct {
			Name     string `yaml:"name"`
			Protocol string `yaml:"appProtocol"`
		} `yaml:"ports"`
		Template struct {
			Spec pod `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type pod struct {
	Containers   []container `yaml:"containers"`
	Grace        int         `yaml:"terminationGracePeriodSeconds"`
	Token        *bool       `yaml:"automountServiceAccountToken"`
	ServiceLinks *bool       `yaml:"enableServiceLinks"`
	Security     struct {
		NonRoot bool                  `yaml:"runAsNonRoot"`
		User    int                   `yaml:"runAsUser"`
		Seccomp struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Volumes []struct {
		Name   string `yaml:"name"`
		Secret struct {
			Name  string `yaml:"secretName"`
			Mode  int    `yaml:"defaultMode"`
			Items []item `yaml:"items"`
		} `yaml:"secret"`
		ConfigMap struct {
			Name  string `yaml:"name"`
			Items []item `yaml:"items"`
		} `yaml:"configMap"`
	} `yaml:"volumes"`
}

type item struct{ Key, Path string }

type container struct {
	Command []string `yaml:"command"`
	Args    []string `yaml:"args"`
	Env     []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
		From  struct {
			Secret struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	} `yaml:"env"`
	Ports []struct {
		Name string `yaml:"name"`
		Port string `yaml:"containerPort"`
	} `yaml:"ports"`
	Resources struct {
		Limits struct{ Memory string } `yaml:"limits"`
	} `yaml:"resources"`
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
	Mounts    []struct {
		Name string `yaml:"name"`
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Security struct {
		Escalation   *bool                   `yaml:"allowPrivilegeEscalation"`
		ReadOnly     bool                    `yaml:"readOnlyRootFilesystem"`
		Capabilities struct{ Drop []string } `yaml:"capabilities"`
	} `yaml:"securityContext"`
}

type probe struct {
	Get struct{ Path, Port string } `yaml:"httpGet"`
}

func manifests(t *testing.T, rendered string) (all []manifest) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(rendered)))
	for {
		var m manifest
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%v\n%s", err, rendered)
		}
		all = append(all, m)
	}
}

// podOf is the pod of the one Deployment.
func podOf(t *testing.T, rendered string) pod {
	t.Helper()
	for _, m := range manifests(t, rendered) {
		if m.Kind == "Deployment" && len(m.Spec.Template.Spec.Containers) == 1 {
			return m.Spec.Template.Spec
		}
	}
	t.Fatalf("no Deployment of one container\n%s", rendered)
	return pod{}
}
