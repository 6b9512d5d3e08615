package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// profiler is added to package main of the server, in the profiled build only: the server itself has no such door.
//
//go:embed testdata/profiler.go
var profiler []byte

// profiled is a server built with the profiler.
const profiled = "profiled"

// profile writes CPU and allocation profiles of the server under saturation, through both doors, into a directory. The
// build adds one file by an overlay and is otherwise the server that is measured.
func (b *bench) profile(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source, overlay := filepath.Join(b.rig.dir, "profiler.go"), filepath.Join(b.rig.dir, "overlay.json")
	added, err := filepath.Abs("server/profiler.go")
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {added: source}})
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(source, profiler, 0o600), os.WriteFile(overlay, text, 0o600),
		build(ctx, filepath.Join(b.rig.dir, profiled), "./server", "-overlay="+overlay))
	if err != nil {
		return err
	}
	for _, door := range []struct {
		name string
		row  row
	}{
		{"grpc", usually(oursGRPC, profiled, byGRPC)},
		{"rest", usually(oursREST, profiled, byHTTP)},
	} {
		if err := b.profileDoor(&door.row, filepath.Join(dir, door.name)); err != nil {
			return fmt.Errorf("profiling %s: %w", door.name, err)
		}
	}
	return nil
}

// profileDoor loads the server while it takes its profiles.
func (b *bench) profileDoor(r *row, into string) error {
	if _, err := loaded(b, r); err != nil { // warm
		return err
	}
	p, err := b.rig.server(r.server)
	if err != nil {
		return err
	}
	l, err := b.open(r, p)
	if err != nil {
		return err
	}
	defer l.close()
	const taken = 10 * time.Second
	var (
		loading sync.WaitGroup
		failed  error
	)
	loading.Go(func() { _, failed = l.saturate(taken + time.Second) })
	base := "http://" + p.profiler + "/debug/pprof/"
	err = errors.Join(
		save(base+fmt.Sprintf("profile?seconds=%d", int(taken.Seconds())), into+".cpu"),
		save(base+"allocs", into+".allocs"))
	loading.Wait()
	return errors.Join(err, failed)
}

func save(url, file string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return os.WriteFile(file, body, 0o644)
}
