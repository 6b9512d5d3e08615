package deploy

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// most is how large the stripped server may be.
const most = 30_000_000

// scratch is a directory for what several tests use.
var scratch = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "release") })

// here is the platform that the tests can run: the image's system on the machine's processor.
const here = "linux/" + runtime.GOARCH

// builds are two releases of the commit that is checked out, made in two clones of the repository. All platforms are
// in the first one when CI makes it, else this machine's alone.
var builds = sync.OnceValues(func() (dirs [2]string, err error) {
	dir, err := scratch()
	if err != nil {
		return dirs, err
	}
	program := filepath.Join(dir, "release")
	if _, stderr, err := try(root, "go", "build", "-o", program, "./deploy/release"); err != nil {
		return dirs, errors.New(stderr)
	}
	for i, name := range []string{"one", "the-other"} {
		clone := filepath.Join(dir, name)
		if _, stderr, err := try(root, "git", "clone", "--quiet", "--shared", ".", clone); err != nil {
			return dirs, errors.New(stderr)
		}
		args := []string{"-out", "dist"}
		if i > 0 || os.Getenv("RECOVERYCODES_CI") == "" {
			args = append(args, "-platforms", here)
		}
		if _, stderr, err := try(clone, program, args...); err != nil {
			return dirs, errors.New(stderr)
		}
		dirs[i] = filepath.Join(clone, "dist")
	}
	return dirs, nil
})

// released returns the directories of both releases.
func released(t *testing.T) [2]string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the image is for linux")
	}
	if _, err := exec.LookPath("git"); err != nil {
		unavailable(t, "%v", err)
	}
	if _, _, err := try(root, "git", "rev-parse", "HEAD"); err != nil {
		unavailable(t, "no commit: %v", err)
	}
	dirs, err := builds()
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func binaryOf(dir, command string) string {
	return filepath.Join(dir, command+"-"+strings.ReplaceAll(here, "/", "-"))
}

// TestReleaseIsReproducible: the same commit gives the same bytes in another directory. Both builds share the compiler's
// cache, so that what the compiler itself makes of a file twice is Go's promise and not tested here.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	dirs := released(t)
	var sums [2]map[string]string
	for i, dir := range dirs {
		sums[i] = make(map[string]string)
		text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
				t.Errorf("%s has another sum, or %v", name, err)
			}
			if i == 0 || strings.Contains(name, strings.ReplaceAll(here, "/", "-")) {
				sums[i][name] = sum
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != strings.Count(string(text), "\n")+1 {
			t.Errorf("sums of %d files, and there are %d: %v", strings.Count(string(text), "\n"), len(entries)-1, err)
		}
	}
	if len(sums[1]) != 4 {
		t.Errorf("%v", sums[1])
	}
	for name, sum := range sums[1] {
		if sums[0][name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	if os.Getenv("RECOVERYCODES_CI") != "" && len(sums[0]) != 12 {
		t.Errorf("not all platforms: %v", sums[0])
	}
}

// TestReleasedBinaries: they are small, need nothing of the system, know their version and nothing of where they were built.
func TestReleasedBinaries(t *testing.T) {
	t.Parallel()
	dir := released(t)[0]
	commit := strings.TrimSpace(output(t, root, "git", "rev-parse", "HEAD"))
	home := strings.TrimSpace(output(t, root, "go", "env", "GOROOT"))
	for _, command := range []string{"recoverycodesd", "recoverycodes"} {
		t.Run(command, func(t *testing.T) {
			path := binaryOf(dir, command)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.1f MB", float64(len(content))/1e6)
			if len(content) > most {
				t.Errorf("%d bytes", len(content))
			}
			if bytes.Contains(content, []byte(filepath.Dir(dir))) || bytes.Contains(content, []byte(home+"/src")) {
				t.Error("it tells where it was built")
			}
			file, err := elf.NewFile(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
				t.Error("it is not stripped")
			}
			if libraries, err := file.ImportedLibraries(); len(libraries) != 0 || err != nil || file.Section(".interp") != nil {
				t.Errorf("it is not static: %v %v", libraries, err)
			}
			info, err := buildinfo.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(info.Main.Version, commit[:12]) && !strings.HasPrefix(info.Main.Version, "v") || strings.Contains(info.Main.Version, "dirty") {
				t.Errorf("version %q of commit %s", info.Main.Version, commit)
			}
		})
	}
	daemon := binaryOf(dir, "recoverycodesd")
	if info, err := buildinfo.ReadFile(daemon); err != nil || strings.TrimSpace(output(t, ".", daemon, "version")) != info.Main.Version {
		t.Errorf("it does not say that it is %v: %v", info, err)
	}
}

// TestMaterials: the bill lists what go version -m lists.
func TestMaterials(t *testing.T) {
	t.Parallel()
	path := binaryOf(released(t)[0], "recoverycodesd")
	text, err := os.ReadFile(path + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Format     string `json:"bomFormat"`
		Version    string `json:"specVersion"`
		Components []struct {
			Name, Version, Purl string
		} `json:"components"`
		Dependencies []struct{ DependsOn []string } `json:"dependencies"`
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.Format != "CycloneDX" || bill.Version != "1.6" || len(bill.Dependencies) != 1 {
		t.Errorf("%+v", bill)
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(runtime.Version(), "go")}
	for line := range strings.Lines(output(t, ".", "go", "version", "-m", path)) {
		if cells := strings.Fields(line); len(cells) > 2 && cells[0] == "dep" {
			want = append(want, "pkg:golang/"+cells[1]+"@"+cells[2])
		}
	}
	var got []string
	for _, c := range bill.Components {
		got = append(got, c.Purl)
		if !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%+v", c)
		}
	}
	if len(want) < 20 || !slices.ContainsFunc(want, func(p string) bool { return strings.HasPrefix(p, "pkg:golang/google.golang.org/grpc@v") }) {
		t.Fatalf("%q", want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-binary +bill\n%s", diff)
	}
	if diff := cmp.Diff(got, bill.Dependencies[0].DependsOn); diff != "" {
		t.Errorf("-components +dependencies\n%s", diff)
	}
}

// TestReleaseNeedsAVersion: what cannot say which commit it is of is not handed out.
func TestReleaseNeedsAVersion(t *testing.T) {
	t.Parallel()
	clone := filepath.Dir(released(t)[1])
	dir := t.TempDir()
	if err := os.CopyFS(dir, exported{os.DirFS(clone)}); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(clone), "release")
	_, stderr, err := try(dir, program, "-out", "dist", "-platforms", here, "-commands", "recoverycodes")
	if err == nil || !strings.Contains(stderr, "does not know its version") {
		t.Errorf("%v: %s", err, stderr)
	}
}

// exported is a tree without its repository.
type exported struct{ fs.FS }

func (e exported) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(e.FS, name)
	return slices.DeleteFunc(entries, func(entry fs.DirEntry) bool { return entry.Name() == ".git" || entry.Name() == "dist" }), err
}
