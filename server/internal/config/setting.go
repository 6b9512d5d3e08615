package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A Setting is one thing an operator can set. Everything about it stands in one place: the flag, the environment
// variable, the default, the text in --help and in the README, and how its text becomes a value.
type Setting struct {
	Flag    string // without dashes; empty for what must not stand on a command line
	Env     string
	Default string
	Doc     string
	bool    bool
	set     func(text string) error
}

// Name is how a setting is called in errors: its flag where it has one.
func (s *Setting) Name() string {
	if s.Flag == "" {
		return s.Env
	}
	return "--" + s.Flag
}

// env derives the variable of a flag.
func env(flagName string) string {
	return "RECOVERYCODES_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func text(into *string, flagName, def, doc string) Setting {
	return Setting{Flag: flagName, Env: env(flagName), Default: def, Doc: doc, set: func(s string) error {
		*into = s
		return nil
	}}
}

func oneOf(into *string, flagName, def, doc string, values ...string) Setting {
	s := text(into, flagName, def, doc+" ("+strings.Join(values, ", ")+").")
	s.set = func(t string) error {
		if !slices.Contains(values, t) {
			return fmt.Errorf("want one of %s", strings.Join(values, ", "))
		}
		*into = t
		return nil
	}
	return s
}

// address is host:port; the host may be empty for every interface, the port 0 for any free one.
func address(into *string, flagName, def, doc string) Setting {
	s := text(into, flagName, def, doc)
	s.set = func(t string) error {
		_, port, err := net.SplitHostPort(t)
		if err != nil {
			return errors.New("want host:port")
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return errors.New("want a port number")
		}
		*into = t
		return nil
	}
	return s
}

// unixPrefix begins the address of a door that listens on a unix socket.
const unixPrefix = "unix:"

// door is an address, or a unix socket by unix:/path.
func door(into *string, flagName, def, doc string) Setting {
	s := address(into, flagName, def, doc)
	network := s.set
	s.set = func(t string) error {
		if path, ok := strings.CutPrefix(t, unixPrefix); ok {
			if !strings.HasPrefix(path, "/") {
				return errors.New("want unix: and an absolute path")
			}
			*into = t
			return nil
		}
		return network(t)
	}
	return s
}

func duration(into *time.Duration, flagName, def, doc string) Setting {
	s := text(nil, flagName, def, doc)
	s.set = func(t string) error {
		d, err := time.ParseDuration(t)
		if err != nil || d <= 0 {
			return errors.New("want a positive duration such as 31s or 500ms")
		}
		*into = d
		return nil
	}
	return s
}

// span is a duration that may be 0, which doc must explain.
func span(into *time.Duration, flagName, def, doc string) Setting {
	s := text(nil, flagName, def, doc)
	s.set = func(t string) error {
		d, err := time.ParseDuration(t)
		if err != nil || d < 0 {
			return errors.New("want a duration such as 5s, or 0s")
		}
		*into = d
		return nil
	}
	return s
}

// number is a whole number of at least least.
func number(into *int, least int, flagName, def, doc string) Setting {
	s := text(nil, flagName, def, doc)
	s.set = func(t string) error {
		n, err := strconv.ParseInt(t, 10, 31)
		if err != nil || int(n) < least {
			return fmt.Errorf("want a whole number of at least %d", least)
		}
		*into = int(n)
		return nil
	}
	return s
}

func boolean(into *bool, flagName, doc string) Setting {
	s := text(nil, flagName, "false", doc)
	s.bool = true
	s.set = func(t string) error {
		switch t {
		case "true":
			*into = true
		case "false":
			*into = false
		default:
			return errors.New("want true or false")
		}
		return nil
	}
	return s
}

// parse gives every setting its value: from the arguments, else from the environment, else its default. It finds every
// error there is, each with the name of its setting, and never prints a value: some are secrets.
func parse(settings []Setting, args []string, getenv func(string) string) []error {
	given := make(map[*Setting]string)
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for i := range settings {
		if s := &settings[i]; s.Flag != "" {
			flags.Var(flagValue{s, given}, s.Flag, s.Doc)
		}
	}
	var errs []error
	for rest := args; len(rest) > 0; {
		err := flags.Parse(rest)
		if errors.Is(err, flag.ErrHelp) {
			return []error{flag.ErrHelp}
		}
		rest = flags.Args()
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "bad flag syntax"):
			errs = append(errs, err) // it names the flag and no value
		case len(rest) > 0:
			// Not shown, because it can be the value of the flag before it that does not exist: --stytch-secret VALUE.
			errs = append(errs, fmt.Errorf("argument %d: is no flag", len(args)-len(rest)+1))
			rest = rest[1:]
		}
	}
	for i := range settings {
		s := &settings[i]
		source, value := s.Name(), given[s]
		if _, ok := given[s]; !ok {
			if value = getenv(s.Env); value != "" {
				source = s.Env
			} else {
				value = s.Default
			}
		}
		if err := s.set(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
		}
	}
	return errs
}

// flagValue records what stood on the command line, to be checked with everything else.
type flagValue struct {
	setting *Setting
	given   map[*Setting]string
}

func (v flagValue) String() string { return "" }

func (v flagValue) Set(text string) error {
	v.given[v.setting] = text
	return nil
}

// IsBoolFlag lets the flag package accept --name without a value.
func (v flagValue) IsBoolFlag() bool { return v.setting != nil && v.setting.bool }

// Help writes the table of settings.
func Help(w io.Writer, settings []Setting) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  flag\tenvironment\tdefault\t")
	for _, s := range settings {
		name := "(none)"
		if s.Flag != "" {
			name = "--" + s.Flag
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", name, s.Env, s.Default, s.Doc)
	}
	return t.Flush()
}

// readFile is os.ReadFile without the path in its error: a secret that was put where a path belongs is not printed.
func readFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the path is the operator's own setting
	var where *fs.PathError
	if errors.As(err, &where) {
		return nil, where.Err
	}
	return content, err
}

// readSecret reads a secret from a file, without the line end that editors leave.
func readSecret(path string) (string, error) {
	content, err := readFile(path)
	if err != nil {
		return "", err
	}
	return Secret(content)
}

// Secret is what a file of one secret holds.
func Secret(content []byte) (string, error) {
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", errors.New("is empty")
	}
	return secret, nil
}

// minSecret is how long a secret that we let operators choose has to be at least: 32 characters, of which 32 random bytes in base64
// or hexadecimal have more.
const minSecret = 32

// readSecrets reads a file of secrets, one a line.
func readSecrets(path string) ([][]byte, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return secretLines(content)
}

func secretLines(content []byte) ([][]byte, error) {
	var secrets [][]byte
	for i, line := range bytes.Split(content, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) == 0:
			continue
		case len(line) < minSecret:
			return nil, fmt.Errorf("line %d: want a secret of at least %d characters", i+1, minSecret)
		case slices.ContainsFunc(secrets, func(other []byte) bool { return bytes.Equal(other, line) }):
			return nil, fmt.Errorf("line %d: stands there twice", i+1)
		}
		secrets = append(secrets, line)
	}
	if len(secrets) == 0 {
		return nil, errors.New("is empty")
	}
	return secrets, nil
}

// seedFile is read when it is set; what it says is the sandbox's to judge.
func seedFile(into *[]byte, flagName, doc string) Setting {
	s := text(nil, flagName, "", doc)
	s.set = func(path string) (err error) {
		if path != "" {
			*into, err = readFile(path)
		}
		return err
	}
	return s
}

func readCertificates(path string) (*x509.CertPool, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("holds no certificate in PEM")
	}
	return pool, nil
}
