package deploy

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/test/daemon"
)

// descriptor names a blob of an OCI layout.
type descriptor struct {
	MediaType string                             `json:"mediaType"`
	Digest    string                             `json:"digest"`
	Platform  *struct{ OS, Architecture string } `json:"platform"`
}

// blob reads one, and holds it to its name. Into may be nil.
func blob(t *testing.T, layout string, d descriptor, into any) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(layout, "blobs", strings.Replace(d.Digest, ":", "/", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); sum != d.Digest {
		t.Fatalf("%s holds %s", d.Digest, sum)
	}
	if into != nil {
		if err := json.Unmarshal(content, into); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

// imageConfig is what a container engine runs an image by.
type imageConfig struct {
	OS, Architecture string
	Created          string
	Config           struct {
		User            string
		Entrypoint, Cmd []string
		StopSignal      string
		Labels          map[string]string
	}
	RootFS struct {
		Diffs []string `json:"diff_ids"`
	}
}

// TestImage takes an image apart as a container engine does, and runs what is in it with nothing else there.
func TestImage(t *testing.T) {
	binary := binaryOf(released(t)[0], "recoverycodesd")
	program := tool(t, "image")
	layout := filepath.Join(t.TempDir(), "image")
	digest := strings.TrimSpace(output(t, ".", program, "-out", layout, binary))
	again := filepath.Join(t.TempDir(), "image")
	other := binaryOf(released(t)[1], "recoverycodesd")
	if second := strings.TrimSpace(output(t, ".", program, "-out", again, other)); second != digest {
		t.Errorf("the same commit gives %s and %s", digest, second)
	}

	var whole, index struct{ Manifests []descriptor }
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil || json.Unmarshal(text, &whole) != nil || len(whole.Manifests) != 1 || whole.Manifests[0].Digest != digest {
		t.Fatalf("%s %v", text, err)
	}
	blob(t, layout, whole.Manifests[0], &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Platform == nil ||
		index.Manifests[0].Platform.OS+"/"+index.Manifests[0].Platform.Architecture != here {
		t.Fatalf("%+v", index)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	blob(t, layout, index.Manifests[0], &manifest)
	var config imageConfig
	blob(t, layout, manifest.Config, &config)
	if config.OS+"/"+config.Architecture != here || config.Config.User != "65532:65532" || config.Config.StopSignal != "SIGTERM" ||
		!cmp.Equal(config.Config.Entrypoint, []string{"/usr/local/bin/recoverycodesd"}) || !cmp.Equal(config.Config.Cmd, []string{"serve"}) {
		t.Errorf("%+v", config)
	}
	if version := strings.TrimSpace(output(t, ".", binary, "version")); config.Config.Labels["org.opencontainers.image.version"] != version {
		t.Errorf("version %s has the labels %v", version, config.Config.Labels)
	}

	files := t.TempDir()
	var names []string
	for i, layer := range manifest.Layers {
		sum, unpacked := unpack(t, layout, layer, files)
		if sum != config.RootFS.Diffs[i] {
			t.Errorf("layer %d is %s, and the config says %s", i, sum, config.RootFS.Diffs[i])
		}
		names = append(names, unpacked...)
	}
	want := []string{"etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/local/bin/recoverycodesd"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	authorities, err := os.ReadFile(filepath.Join(files, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(authorities) || strings.Count(string(authorities), "BEGIN") < 100 {
		t.Errorf("%d authorities: %v", strings.Count(string(authorities), "BEGIN"), err)
	}
	runContained(t, files, config)
}

// unpack puts a layer's files into a directory, and returns the sum of the layer and the files' names.
func unpack(t *testing.T, layout string, layer descriptor, dir string) (sum string, names []string) {
	t.Helper()
	packed, err := gzip.NewReader(strings.NewReader(string(blob(t, layout, layer, nil))))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	plain := io.TeeReader(packed, hash)
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.ModTime.Unix() != 0 || header.Uid != 0 || header.Gid != 0 || header.Mode&^0o755 != 0 {
			t.Errorf("%+v", header)
		}
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, header.FileInfo().Mode().Perm()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		names = append(names, header.Name)
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, header.FileInfo().Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), names
}

// runContained starts the image's entrypoint as its user with the image's files as all there is, which only root can do.
func runContained(t *testing.T, files string, config imageConfig) {
	t.Helper()
	if os.Getuid() != 0 {
		unavailable(t, "only root can run an image")
	}
	line := "exec chroot --userspec=" + config.Config.User + " " + files + " " + config.Config.Entrypoint[0]
	script := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+line+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := daemon.StartBuild(t, script, nil, nil, "--sandbox")
	if status := statusOf(t, d.Admin+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz says %d", status)
	}
	if err := get(t, d.Dial(t)); err != nil {
		t.Error(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil || !strings.Contains(string(status), "\nUid:\t65532\t65532\t") || !strings.Contains(string(status), "\nGid:\t65532\t65532\t") {
		t.Errorf("%v\n%s", err, status)
	}
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.Log())
	}
}
