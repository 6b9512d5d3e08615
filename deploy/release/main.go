// Command release builds what is handed out: the two commands for every platform, a bill of materials for each binary,
// and the sums of them all. The same commit gives the same bytes on any machine that has the toolchain of go.mod. It
// knows the go command and nothing of the product but the paths of its commands.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// commands are the paths of the packages that are handed out, by the name of the binary.
var commands = map[string]string{"recoverycodesd": "./server", "recoverycodes": "./client/cmd/recoverycodes"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run is the whole program. environment is what the go command runs with, its platform aside.
func run(ctx context.Context, args, environment []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	out := flags.String("out", "dist", "the directory that is written to; what it holds already is not looked at")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64,darwin/arm64", "for which systems, with commas between them")
	only := flags.String("commands", "recoverycodesd,recoverycodes", "which commands, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil { //nolint:gosec // what is handed out is public
		return err
	}
	var names, sources []string
	for name := range strings.SplitSeq(*only, ",") {
		if commands[name] == "" {
			return fmt.Errorf("-commands: there is no %q", name)
		}
		names, sources = append(names, name), append(sources, commands[name])
	}
	var files []string
	for platform := range strings.SplitSeq(*platforms, ",") {
		system, processor, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("-platforms: want system/processor, such as linux/amd64, not %q", platform)
		}
		built, err := build(ctx, *out, sources, system, processor, environment)
		if err != nil {
			return err
		}
		for i, name := range names {
			binary := strings.Join([]string{name, system, processor}, "-")
			materials := binary + ".cdx.json"
			if err := os.Rename(built[i], filepath.Join(*out, binary)); err != nil {
				return err
			}
			if err := describe(filepath.Join(*out, binary), filepath.Join(*out, materials), name, platform); err != nil {
				return fmt.Errorf("%s: %w", binary, err)
			}
			files = append(files, binary, materials)
		}
	}
	return writeSums(*out, files, stdout)
}

// build compiles commands for one platform, all at once since most of what they are made of is the same, and returns where
// in dir they are. Nothing of the machine goes into the binaries: no path, no link to a C library, no random id. Their
// version is that of the commit, with +dirty when the work tree differs from it.
func build(ctx context.Context, dir string, sources []string, system, processor string, environment []string) (paths []string, err error) {
	command := exec.CommandContext(ctx, "go", append([]string{ //nolint:gosec // the operator's own words
		"build", "-trimpath", "-buildvcs=true", "-mod=readonly", "-ldflags=-s -w -buildid=", "-o", dir + string(filepath.Separator),
	}, sources...)...)
	// GOAMD64 and its like, and GOEXPERIMENT, change what is compiled.
	command.Env = append(slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == "GOEXPERIMENT" || name == "GOFIPS140" || name == "GOFLAGS" || strings.HasPrefix(name, "GOAMD") || strings.HasPrefix(name, "GOARM")
	}), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor)
	if text, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s for %s/%s: %w\n%s", strings.Join(sources, " and "), system, processor, err, text)
	}
	for _, source := range sources {
		paths = append(paths, filepath.Join(dir, filepath.Base(source)))
	}
	return paths, nil
}

// writeSums writes SHA256SUMS as sha256sum -c reads it, and tells what was made.
func writeSums(dir string, files []string, stdout io.Writer) error {
	slices.Sort(files)
	var sums strings.Builder
	for _, name := range files {
		file, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // it was written above
		if err != nil {
			return err
		}
		hash := sha256.New()
		size, err := io.Copy(hash, file)
		if err := cmp.Or(err, file.Close()); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&sums, "%x  %s\n", hash.Sum(nil), name)
		if _, err := fmt.Fprintf(stdout, "%8d KB  %s\n", (size+1023)/1024, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644) //nolint:gosec // what is handed out is public
}
