package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplainingARouteCallsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	apiKey := w.ready()
	w.complete(apiKey, "hello")
	p := w.owner
	p.run("", "policy", "update", "main", "--target", "openai/gpt-4o-mini=own", "--target", "anthropic/claude-haiku-4-5=own").ok()
	file := filepath.Join(t.TempDir(), "app.key")
	if err := os.WriteFile(file, []byte(apiKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the router to know the policy", func() error {
		r := p.run("", "explain", "policy/main", "--key-file", file, "--in", "1000", "--out", "100").ok()
		if !strings.Contains(r.out, "main, version 2") {
			return fmt.Errorf("%s", r.out)
		}
		r.says("Would be tried, in this order", "openai/gpt-4o-mini", "own", "$0.00", "Would not be tried", "anthropic/claude-haiku-4-5")
		return nil
	})
	answer := p.run(apiKey, "explain", "policy/main", "--key-stdin", "-o", "json").ok().object()
	candidates, _ := answer["candidates"].([]any)
	exclusions, _ := answer["exclusions"].([]any)
	if len(candidates) != 1 || len(exclusions) == 0 || answer["policy"] != "main" {
		t.Errorf("explain -o json = %v", answer)
	}
	p.env["CLAVIGER_API_KEY"] = apiKey
	p.run("", "explain", "-q").ok().says("openai/gpt-4o-mini")
	p.run("", "explain", "openai/gpt-4o", "--only", "anthropic").exits(0).says("nothing: the request would be refused")
	p.run("", "explain", "policy/main", "--tag", "nonsense").exits(2).complains("KEY=VALUE")
	p.env["CLAVIGER_API_KEY"] = "clv_live_" + strings.Repeat("x", 40)
	p.run("", "explain", "policy/main").exits(1).complains("API key")
	before := len(p.run("", "request", "list", "-q").ok().out)
	if before > len("req_01m81pgdaze9m9m4tnz1hd5mpb\n") {
		t.Errorf("explaining left usage")
	}
}
