package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"recoverycodes.internal/client"
)

const defaultServer = "127.0.0.1:50051"

const description = `Shows, renews and spends the recovery codes of a Stytch B2B member, through the recovery-codes service.

Codes and session tokens are hidden unless --show-codes is given. The code that recover and resolve need, and the tokens of --with, are read from a prompt, or from the first lines of standard input, and never from an argument. The token that makes the caller known comes from --token-file or from $RECOVERYCODES_TOKEN.

Exit codes:

    0  done; for resolve: the code is still active
    1  refused or failed; for rotate and recover: nothing was changed
    2  wrong usage; nothing was sent
    3  not sent, or unavailable; nothing was changed, safe to try again
    4  outcome unknown: rotate or recover may have taken effect;
       do not repeat it, look with get after a rotate and with resolve
       after a recover
    5  from resolve alone: the code is not active; if it was before the
       recover, it is spent`

// cli declares every command and flag. A flag with a "variable" can also be set by the environment variable of that
// name.
type cli struct {
	Server            string        `help:"The service, host:port or another gRPC target ($$RECOVERYCODES_SERVER); default ${default}." default:"${server}" variable:"RECOVERYCODES_SERVER" placeholder:"TARGET"`
	Plaintext         *bool         `help:"Connect without TLS. The default for a server on this machine, and needed for any other that has no TLS." negatable:""`
	Mesh              bool          `help:"Connect without TLS, and send the token even to another machine: for a mesh whose sidecar on this machine encrypts."`
	CAFile            string        `help:"Trust the certificates in this PEM file instead of the system's ($$RECOVERYCODES_CA_FILE)." name:"ca-file" variable:"RECOVERYCODES_CA_FILE" placeholder:"FILE"`
	ClientCertificate string        `help:"Show the service the certificate in this PEM file ($$RECOVERYCODES_CLIENT_CERTIFICATE)." variable:"RECOVERYCODES_CLIENT_CERTIFICATE" placeholder:"FILE"`
	ClientKey         string        `help:"The private key of --client-certificate, a PEM file ($$RECOVERYCODES_CLIENT_KEY)." variable:"RECOVERYCODES_CLIENT_KEY" placeholder:"FILE"`
	TokenFile         string        `help:"Send the bearer token in this file with the call ($$RECOVERYCODES_TOKEN_FILE); by default the token in $$RECOVERYCODES_TOKEN, if there is one." variable:"RECOVERYCODES_TOKEN_FILE" placeholder:"FILE"`
	Timeout           time.Duration `help:"Time for one call; default ${default}." default:"${timeout}" placeholder:"DURATION"`
	Output            string        `help:"Format of the answer, table or json; default: table on a terminal, json elsewhere." short:"o" enum:"auto,table,json" default:"auto" placeholder:"FORMAT"`
	ShowCodes         bool          `help:"Print codes and session tokens instead of hiding them."`

	Get     getCommand     `cmd:"" help:"Show which codes of a member are active."`
	Rotate  rotateCommand  `cmd:"" help:"Void all codes of a member and mint new ones."`
	Recover recoverCommand `cmd:"" help:"Spend a code and open a session for the member."`
	Resolve resolveCommand `cmd:"" help:"Ask what a recover with an unknown outcome came to: whether its code is still active."`
	Health  healthCommand  `cmd:"" help:"Ask whether the service takes calls."`
}

// run is the program: it parses args, makes one call and returns the exit code. The environment is read through getenv
// only.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	var flags cli
	helped := false
	parser, err := kong.New(&flags,
		kong.Name("recoverycodes"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // kong calls it after printing help
		kong.Vars{
			"server":  defaultServer,
			"timeout": client.DefaultTimeout.String(),
		},
		kong.Resolvers(environment(getenv)),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the declarations above are wrong, whatever the arguments
	}

	parsed, err := parser.Parse(args)
	if helped {
		return int(exitDone)
	}
	if err == nil {
		err = flags.call(parsed, getenv, stdin, stdout, stderr)
	} else {
		err = &usageError{parseMessage(err)}
	}
	return int(report(stderr, err))
}

// call connects and runs the command that was selected.
func (flags *cli) call(parsed *kong.Context, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	opts, err := flags.clientOptions(getenv)
	if err != nil {
		return err
	}
	c, err := client.New(flags.Server, opts...)
	if err != nil {
		return &usageError{inFlags.Replace(err.Error())}
	}
	defer func() { _ = c.Close() }() // the only call has ended
	err = parsed.Run(&session{
		client: c,
		stdin:  stdin,
		stderr: stderr,
		out: printer{
			w:           stdout,
			json:        flags.Output == "json" || flags.Output == "auto" && !isTerminal(stdout),
			showSecrets: flags.ShowCodes,
		},
	})
	if failed := (*callError)(nil); errors.As(err, &failed) {
		failed.server = flags.Server
	}
	return err
}

// environment fills flags that were not given from the variables they name.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if name := flag.Tag.Get("variable"); name != "" {
			if value := getenv(name); value != "" {
				return value, nil
			}
		}
		return nil, nil
	})
}

// parseMessage is err's text without the argument that was wrong: that may be a code or a token of somebody who has not
// read the help.
func parseMessage(err error) string {
	if strings.HasPrefix(err.Error(), "unexpected argument") {
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context.Selected() == nil {
			return "no such command"
		}
		return "unexpected argument (a code is read from standard input, never from an argument)"
	}
	message, _, _ := strings.Cut(err.Error(), " but got ")
	return message
}

// A usageError says what is wrong with the arguments or the environment.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// report tells err on w, if there is one, and returns the exit code.
func report(w io.Writer, err error) exitCode {
	var usage *usageError
	var failed *callError
	var lost *answerError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(w, "recoverycodes: %s\nRun recoverycodes --help for usage.\n", printable(usage.message))
		return exitUsage
	case errors.As(err, &failed):
		failed.write(w)
		return failed.exitCode()
	}
	_, _ = fmt.Fprintf(w, "recoverycodes: %s\n", printable(err.Error()))
	switch {
	case errors.As(err, &lost):
		return lost.exitCode()
	case errors.Is(err, errNotServing), errors.Is(err, errInterrupted):
		return exitNotSent
	case errors.Is(err, errInactive):
		return exitInactive
	default:
		return exitFailed
	}
}
