// Command bench measures what the server costs, and compares it with what else could stand in its place.
//
// Every server is a process of its own on one core; the callers and a canned upstream are this process, on another. Rounds
// of the rows of a table take turns, so that what the machine does meanwhile meets all of them alike, and medians are
// compared. Absolute figures are this machine's; the ratios of one run are what counts.
//
// It knows the servers as processes with settings and ports, and nothing of their insides.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// spareRounds is how many rounds' time may go into measuring rounds again.
const spareRounds = 600

// options are the flags.
type options struct {
	rows                *regexp.Regexp
	round               time.Duration
	rounds              int
	quick               bool
	json, page, profile string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rows := flags.String("rows", "", "measure only rows whose \"table/row\" this regular expression matches")
	flags.DurationVar(&o.round, "round", 500*time.Millisecond, "how long a round is")
	flags.IntVar(&o.rounds, "rounds", 11, "how many rounds a row has")
	flags.BoolVar(&o.quick, "quick", false, "three rounds of 200 ms and fewer rows: to see that it works, not to measure")
	flags.StringVar(&o.json, "json", "", "file to write the results to, as JSON")
	flags.StringVar(&o.page, "page", "", "page to write the tables into, between its marks")
	flags.StringVar(&o.profile, "profile", "", "instead of tables, write profiles of the server into this directory")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.round <= 0 || o.rounds <= 0 {
		return o, errors.New("no arguments but flags, and a round and rounds above 0")
	}
	if o.quick {
		o.round, o.rounds = 200*time.Millisecond, 3
	}
	o.rows, err = regexp.Compile(*rows)
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r := &results{Machine: thisMachine(o.rounds, o.round, args)}
	_, _ = fmt.Fprintln(stderr, "building")
	stand, err := newRig(ctx)
	if err != nil {
		return err
	}
	b := &bench{rig: stand, round: o.round, proven: make(map[string]bool)}
	if !o.quick {
		b.spare = spareRounds * o.round
	}
	if o.profile != "" {
		return errors.Join(b.profile(ctx, o.profile), stand.close())
	}
	err = measureAll(ctx, b, &o, r, stderr)
	if err := errors.Join(err, stand.close()); err != nil {
		return err
	}
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		err = errors.Join(os.MkdirAll(filepath.Dir(o.json), 0o755), os.WriteFile(o.json, append(text, '\n'), 0o644))
		if err != nil {
			return err
		}
	}
	if o.page != "" {
		if err := updatePage(o.page, r.markdown()); err != nil {
			return err
		}
	}
	_, err = io.WriteString(stdout, r.markdown()+"\n### Once more, what must hold\n\n"+figuresMarkdown(r.Figures))
	return err
}

func measureAll(ctx context.Context, b *bench, o *options, r *results, progress io.Writer) error {
	if !b.rig.has(nginx) {
		r.Notes = append(r.Notes, "nginx is not installed here; its rows are missing.")
	}
	for _, t := range tables(o.quick) {
		measured, err := b.measure(ctx, t, o, progress)
		if err != nil {
			return err
		}
		if len(measured.Rows) > 0 {
			r.Tables = append(r.Tables, measured)
		}
	}
	if _, err := stolen(b.rig.cores...); err != nil {
		r.Notes = append(r.Notes, "What a hypervisor takes of the cores is not told here; no round was measured again.")
	}
	if b.again+b.disturbed > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("A hypervisor took more than %.0f %% of both cores' time during %d of the rounds at a fixed "+
			"rate. %d of them were measured again.", steady*100, b.again+b.disturbed, b.again))
	}
	if o.rows.MatchString("links/") {
		links, err := b.rig.measureLinks(ctx, o.rounds)
		if err != nil {
			r.Notes = append(r.Notes, "The links of the chain could not be measured.")
			_, _ = fmt.Fprintln(progress, err)
		}
		r.Links = links
	}
	binary, err := os.Stat(filepath.Join(b.rig.dir, "recoverycodesd"))
	if err != nil {
		return err
	}
	r.Figures = figures(r, binary.Size())
	return nil
}

// measure runs the rounds of a table, each row once in a turn.
func (b *bench) measure(ctx context.Context, t table, o *options, progress io.Writer) (tableResult, error) {
	out := tableResult{Name: t.name, Title: t.title, columns: t.columns}
	var rows []row
	for _, r := range t.rows {
		if o.rows.MatchString(t.name+"/"+r.name) && b.rig.has(r.server) {
			rows = append(rows, r)
			out.Rows = append(out.Rows, rowResult{Name: r.name})
		}
	}
	if len(rows) == 0 {
		return out, nil
	}
	rounds := o.rounds * max(t.times, 1)
	for round := range rounds {
		_, _ = fmt.Fprintf(progress, "%s: round %d of %d\n", t.name, round+1, rounds)
		for i := range rows {
			s, err := b.undisturbed(ctx, &rows[i])
			if err != nil {
				return out, fmt.Errorf("%s, %s: %w", t.name, rows[i].name, err)
			}
			out.Rows[i].Rounds = append(out.Rows[i].Rounds, s)
		}
	}
	return out, nil
}
