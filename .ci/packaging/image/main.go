// Command image puts binaries of the server into an OCI image without a container engine: one layer of what a binary
// needs around it, one of the binary, for each platform. The same binaries give the same digest. It knows the image's
// layout and nothing of what the server does.
package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is whom the server runs as. A number, so that Kubernetes can see that it is not root.
const user = "65532:65532"

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("image BINARY…", flag.ContinueOnError)
	out := flags.String("out", "dist/image", "the directory of the OCI layout, made anew")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("want the binaries, one for each platform")
	}
	around, err := layer(aroundIt())
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, binary := range flags.Args() {
		platform, image, err := assemble(binary, around)
		if err != nil {
			return fmt.Errorf("%s: %w", binary, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	if err := os.RemoveAll(*out); err != nil {
		return err
	}
	whole, err := layout.Write(*out, empty.Index)
	if err != nil {
		return err
	}
	if err := whole.AppendIndex(index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, digest)
	return err
}

// assemble makes the image of one binary, which says itself for which platform and from which commit it is.
func assemble(binary string, around v1.Layer) (*v1.Platform, v1.Image, error) {
	content, err := os.ReadFile(binary) //nolint:gosec // the operator's own words
	if err != nil {
		return nil, nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return nil, nil, err
	}
	built := make(map[string]string)
	for _, setting := range info.Settings {
		built[setting.Key] = setting.Value
	}
	if built["CGO_ENABLED"] != "0" {
		return nil, nil, errors.New("is linked to a C library, which the image does not have")
	}
	server, err := layer([]entry{{"usr/local/bin/recoverycodesd", 0o755, content}})
	if err != nil {
		return nil, nil, err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), around, server)
	if err != nil {
		return nil, nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = built["GOOS"], built["GOARCH"]
	file.Config = v1.Config{
		Entrypoint: []string{"/usr/local/bin/recoverycodesd"}, Cmd: []string{"serve"},
		User: user, WorkingDir: "/", StopSignal: "SIGTERM",
		Env: []string{"PATH=/usr/local/bin"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "recoverycodesd",
			"org.opencontainers.image.description": "Stytch's B2B recovery codes over gRPC and REST",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     info.Main.Version,
			"org.opencontainers.image.revision":    built["vcs.revision"],
		},
	}
	image, err = mutate.ConfigFile(image, file)
	return file.Platform(), image, err
}

// entry is a file of a layer.
type entry struct {
	path    string
	mode    int64
	content []byte
}

// aroundIt is what the server needs that is not in it: a name for its user and the authorities to trust. Those come from
// a module, so that they do not depend on the machine that builds. A root that Mozilla trusts for older certificates only
// is left out, since a file of certificates cannot say so.
func aroundIt() []entry {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // into memory
		}
	}
	return []entry{
		{"etc/group", 0o644, []byte("nonroot:x:65532:\n")},
		{"etc/passwd", 0o644, []byte("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, roots.Bytes()},
	}
}

// layer packs files and their directories, all of them root's and without times.
func layer(files []entry) (v1.Layer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	var made []string
	for _, file := range files {
		parts := strings.Split(path.Dir(file.path), "/")
		for i := range parts {
			dir := strings.Join(parts[:i+1], "/") + "/"
			if slices.Contains(made, dir) {
				continue
			}
			made = append(made, dir)
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
				return nil, err
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file.path, Mode: file.mode, Size: int64(len(file.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
