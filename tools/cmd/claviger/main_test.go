package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// claviger runs the command in this process.
func claviger(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, streams{&stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

func TestTheCommandLineSaysWhatIsWrong(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(bad, []byte("organisation: {slug: a}\nowner: {email: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want []string // in either output
	}{
		"nothing":              {nil, 0, []string{"Usage: claviger", "demo", "dev", "keys", "router", "metering", "config", "version"}},
		"help":                 {[]string{"--help"}, 0, []string{"Usage: claviger"}},
		"help of a command":    {[]string{"dev", "--help"}, 0, []string{"--listen", "--data", "--seed", "--egress-allow", "--scripted-provider"}},
		"version":              {[]string{"version"}, 0, []string{"claviger ", "go1."}},
		"unknown command":      {[]string{"serve"}, 2, []string{"serve", "claviger --help"}},
		"unknown flag":         {[]string{"dev", "--lisen", "x"}, 2, []string{"--lisen"}},
		"public listener":      {[]string{"dev", "--data", t.TempDir(), "--listen", "0.0.0.0:0"}, 2, []string{"loopback only"}},
		"seed with mistakes":   {[]string{"dev", "--data", t.TempDir(), "--seed", bad}, 2, []string{`did you mean "organization"?`, "email must be", `has no "password"`}},
		"settings of keys":     {[]string{"keys", "--help"}, 0, []string{"internal_listen", "config_signing_key_file"}},
		"settings of router":   {[]string{"router", "--help"}, 0, []string{"grpc_listen", "provider_base_urls"}},
		"settings of metering": {[]string{"metering", "--help"}, 0, []string{"keys_address"}},
		"bad settings":         {[]string{"keys", "--check", "--http_listn=x"}, 2, []string{"http_listn"}},
		"config check":         {[]string{"config", "check", "router", "--nam=x"}, 2, []string{"nam"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := claviger(t, c.args...)
			if code != c.code {
				t.Errorf("exit code = %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out+errs, want) {
					t.Errorf("the output does not hold %q", want)
				}
			}
			if t.Failed() {
				t.Logf("claviger %s\n%s%s", strings.Join(c.args, " "), out, errs)
			}
		})
	}
}
