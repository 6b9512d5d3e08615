package config_test

import (
	"strings"
	"testing"
)

func TestWhoMayCall(t *testing.T) {
	project := realProject.with(env{"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER": ""})
	for name, c := range map[string]struct {
		env    env
		args   []string
		blamed []string
	}{
		"a policy":                         {project, []string{"--policy=p.yaml"}, nil},
		"anybody, on purpose":              {project, []string{"--insecure-allow-any-caller"}, nil},
		"neither":                          {project, nil, []string{"--policy: is required"}},
		"both":                             {project, []string{"--policy=p", "--insecure-allow-any-caller"}, []string{"--insecure-allow-any-caller: contradicts"}},
		"the sandbox on loopback":          {nil, []string{"--sandbox", "--grpc-listen=[::1]:0", "--http-listen=localhost:0"}, nil},
		"the sandbox on a socket":          {nil, []string{"--sandbox", "--grpc-listen=unix:/run/a"}, nil},
		"the sandbox for everybody":        {nil, []string{"--sandbox", "--grpc-listen=:0", "--http-listen=192.0.2.1:0"}, []string{"--grpc-listen: ", "--http-listen: "}},
		"the sandbox, not by a name":       {nil, []string{"--sandbox", "--http-listen=127.0.0.1.example:0"}, []string{"--http-listen: "}},
		"the sandbox, on purpose":          {nil, []string{"--sandbox", "--grpc-listen=:0", "--insecure-allow-any-caller"}, nil},
		"the sandbox with a policy":        {nil, []string{"--sandbox", "--grpc-listen=:0", "--policy=p"}, nil},
		"a certificate without its key":    {nil, []string{"--sandbox", "--tls-certificate-file=c"}, []string{"--tls-certificate-file: and --tls-key-file"}},
		"a key without its certificate":    {nil, []string{"--sandbox", "--tls-key-file=c"}, []string{"--tls-certificate-file: and --tls-key-file"}},
		"authorities without TLS":          {nil, []string{"--sandbox", "--tls-client-ca-file=c"}, []string{"--tls-client-ca-file: "}},
		"an old TLS":                       {nil, []string{"--sandbox", "--tls-min-version=1.1"}, []string{"--tls-min-version: "}},
		"a socket without a path":          {nil, []string{"--sandbox", "--grpc-listen=unix:run"}, []string{"--grpc-listen: "}},
		"no audit and closed without it":   {nil, []string{"--sandbox", "--audit-file=off", "--audit-fail-closed"}, []string{"--audit-file: "}},
		"more attempts than can be":        {nil, []string{"--sandbox", "--attempts-per-member=101"}, []string{"--attempts-per-member: "}},
		"more than all":                    {nil, []string{"--sandbox", "--attempts-caller-share=101"}, []string{"--attempts-caller-share: "}},
		"less than a second":               {nil, []string{"--sandbox", "--attempts-window=999ms"}, []string{"--attempts-window: "}},
		"the admin door is not for a path": {nil, []string{"--sandbox", "--admin-listen=unix:/run/a"}, []string{"--admin-listen: "}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.blamed == nil {
				serve(t, c.env, c.args...)
				return
			}
			blames(t, refused(t, c.env, c.args...), c.blamed...)
		})
	}
}

func TestAccessBooleans(t *testing.T) {
	c := serve(t, nil, "--sandbox", "--attempts-fail-closed", "--audit-fail-closed")
	if !c.AttemptsFailClosed || !c.AuditFailClosed || c.AuditFile != "-" {
		t.Errorf("%+v", c.Access)
	}
	if c := serve(t, nil, "--sandbox", "--audit-file=off"); c.AuditFile != "" {
		t.Errorf("off is %q", c.AuditFile)
	}
}

// TestTheSecretsFileIsKnown: it has to be looked at again.
func TestTheSecretsFileIsKnown(t *testing.T) {
	path := file(t, strings.Repeat("s", 9))
	c := serve(t, realProject.with(env{"STYTCH_SECRET": ""}), "--stytch-secret-file", path)
	if c.SecretFile != path || c.Secret != strings.Repeat("s", 9) {
		t.Errorf("the file is %q", c.SecretFile)
	}
}
