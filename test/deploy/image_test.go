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
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
		User, WorkingDir, StopSignal string
		Entrypoint, Cmd, Env         []string
		Labels                       map[string]string
	}
	RootFS struct {
		Diffs []string `json:"diff_ids"`
	}
}

// image is what a layout holds for one platform.
type image struct {
	digest   string
	manifest struct {
		Config descriptor
		Layers []descriptor
	}
	config imageConfig
}

// imagesOf takes a layout apart as a container engine does: its images by platform, and its digest.
func imagesOf(t *testing.T, layout string) (images map[string]image, digest string) {
	t.Helper()
	var whole, index struct{ Manifests []descriptor }
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil || json.Unmarshal(text, &whole) != nil || len(whole.Manifests) != 1 {
		t.Fatalf("%s %v", text, err)
	}
	blob(t, layout, whole.Manifests[0], &index)
	images = make(map[string]image)
	for _, listed := range index.Manifests {
		one := image{digest: listed.Digest}
		blob(t, layout, listed, &one.manifest)
		blob(t, layout, one.manifest.Config, &one.config)
		platform := one.config.OS + "/" + one.config.Architecture
		if listed.Platform == nil || listed.Platform.OS+"/"+listed.Platform.Architecture != platform {
			t.Fatalf("%s is listed as %+v", platform, listed.Platform)
		}
		images[platform] = one
	}
	return images, whole.Manifests[0].Digest
}

// TestImage takes an image apart as a container engine does, and runs what is in it with nothing else there. When CI makes it,
// it is one for both processors.
func TestImage(t *testing.T) {
	t.Parallel()
	binary := binaryOf(released(t)[0], "recoverycodesd")
	program := tool(t, "image")
	layout := filepath.Join(t.TempDir(), "image")
	platforms, binaries := []string{here}, []string{binary}
	if os.Getenv("RECOVERYCODES_CI") != "" {
		platforms, binaries = []string{"linux/amd64", "linux/arm64"}, nil
		for _, platform := range platforms {
			binaries = append(binaries, filepath.Join(filepath.Dir(binary), "recoverycodesd-"+strings.ReplaceAll(platform, "/", "-")))
		}
	}
	printed := strings.TrimSpace(output(t, ".", program, append([]string{"-out", layout}, binaries...)...))
	images, digest := imagesOf(t, layout)
	if got := slices.Sorted(maps.Keys(images)); digest != printed || !slices.Equal(got, platforms) {
		t.Fatalf("%s holds %q, want %s of %q", digest, got, printed, platforms)
	}
	again := filepath.Join(t.TempDir(), "image")
	output(t, ".", program, "-out", again, binaryOf(released(t)[1], "recoverycodesd"))
	if second, _ := imagesOf(t, again); second[here].digest != images[here].digest {
		t.Errorf("the same commit gives %s and %s", images[here].digest, second[here].digest)
	}

	config, manifest := images[here].config, images[here].manifest
	if config.Config.User != "65532:65532" || config.Config.StopSignal != "SIGTERM" ||
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
	t.Run("Dockerfile", func(t *testing.T) { holdDockerfile(t, config, want) })
}

// holdDockerfile compares what a Dockerfile makes, so far as its instructions say it, with an image and the files in that. Nothing here
// can run it.
func holdDockerfile(t *testing.T, config imageConfig, files []string) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(text), "")
	plain = regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(plain, " ")
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	build, last, _ := strings.Cut(plain, "\nFROM scratch\n")
	for _, want := range []string{
		"golang:" + string(version[1]) + " AS build", "CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH",
		"go build -trimpath -buildvcs=true -ldflags='-s -w -buildid=' -o /root/recoverycodesd ./server",
	} {
		if !strings.Contains(build, want) {
			t.Errorf("it does not build with %s", want)
		}
	}
	got := imageConfig{}
	var copied []string
	for _, m := range regexp.MustCompile(`(?m)^([A-Z]+) (.*)$`).FindAllStringSubmatch(last, -1) {
		switch words := strings.Fields(m[2]); m[1] {
		case "COPY":
			to := words[len(words)-1]
			for _, from := range words[1 : len(words)-1] {
				path := to
				if strings.HasSuffix(to, "/") {
					path += filepath.Base(from)
				}
				copied = append(copied, strings.TrimPrefix(path, "/"))
			}
		case "USER":
			got.Config.User = m[2]
		case "WORKDIR":
			got.Config.WorkingDir = m[2]
		case "STOPSIGNAL":
			got.Config.StopSignal = m[2]
		case "ENV":
			got.Config.Env = append(got.Config.Env, m[2])
		case "ENTRYPOINT", "CMD":
			into := map[string]*[]string{"ENTRYPOINT": &got.Config.Entrypoint, "CMD": &got.Config.Cmd}[m[1]]
			if err := json.Unmarshal([]byte(m[2]), into); err != nil {
				t.Errorf("%s: %v", m[0], err) // a shell would run it, which there is not
			}
		case "LABEL":
			got.Config.Labels = make(map[string]string)
			for _, label := range regexp.MustCompile(`(\S+)="([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
				got.Config.Labels[label[1]] = label[2]
			}
		default:
			t.Errorf("there is no image that has %s", m[0])
		}
	}
	want := config
	want.OS, want.Architecture, want.Created, want.RootFS.Diffs, want.Config.Labels = "", "", "", nil, make(map[string]string)
	for name, label := range config.Config.Labels {
		if !strings.HasSuffix(name, ".version") && !strings.HasSuffix(name, ".revision") {
			want.Config.Labels[name] = label
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-image +Dockerfile\n%s", diff)
	}
	slices.Sort(copied)
	if diff := cmp.Diff(files, copied); diff != "" {
		t.Errorf("-image +Dockerfile\n%s", diff)
	}
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
