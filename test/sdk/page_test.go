package sdk

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// addresses are the settings by which the SDKs are pointed elsewhere.
var addresses = map[string]string{
	"Node": "env:", "Go": "WithBaseURI(", "Python": "environment=", "Ruby": "env:", "Java": "new OptionalClientConfig(",
	"PHP": "customBaseUrl:", "Rust": "new_with_base_url(", ".NET": "CustomBaseUrl =",
}

// TestPage holds docs/drop-in.md to what is tested: it has one snippet for each SDK whose requests are made here, and that
// for Node is run as it stands.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/drop-in.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := make(map[string]string)
	for _, m := range regexp.MustCompile("(?s)\n([A-Za-z.]+)\n```[a-z]+\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
		name, code := m[1], m[2]
		if snippets[name] != "" {
			t.Errorf("%s has two", name)
		}
		snippets[name] = code
		if addresses[name] == "" || !strings.Contains(code, addresses[name]) || strings.Count(code, `127.0.0.1:8080`) != 1 {
			t.Errorf("%s does not set the address by %s:\n%s", name, addresses[name], code)
		}
		if _, ok := dialects[strings.Replace(strings.ToLower(name), ".", "dot", 1)]; !ok {
			t.Errorf("%s is not among the requests that are made", name)
		}
	}
	if len(snippets) != len(dialects) || len(snippets) != len(addresses) {
		t.Errorf("there are %d snippets, %d dialects and %d settings", len(snippets), len(dialects), len(addresses))
	}

	dir := install(t)
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, "--policy="+writePolicy(t))
	program := `const stytch = require("stytch");
const [project_id, secret, organization_id, member_id, recovery_code] = process.argv.slice(2);
(async () => {
` + strings.NewReplacer("127.0.0.1:8080", d.HTTP, "await client", "const answer = await client").Replace(snippets["Node"]) + `
console.log(JSON.stringify(answer));
})();
`
	script := filepath.Join(dir, "snippet.js")
	if err := os.WriteFile(script, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", script, project, secret, organization, member, code1)
	var stderr strings.Builder // where the SDK warns of an address that it does not know
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got answer
	if err := json.Unmarshal(out, &got); err != nil || got.RecoveryCodesRemaining == nil || *got.RecoveryCodesRemaining != 9 {
		t.Errorf("%v: %s", err, out)
	}
	if calls := sandbox.Member(t, member).Calls; calls.Recover != 1 {
		t.Errorf("%+v arrived", calls)
	}
}
