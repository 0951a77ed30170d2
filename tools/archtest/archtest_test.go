package archtest

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
)

func TestTheSourceKeepsItsRules(t *testing.T) {
	t.Parallel()
	tree, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 20 {
		t.Fatalf("Load found %d packages, so it looks in the wrong place", len(tree.Packages))
	}
	for _, rule := range Rules {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			if found := rule.Check(tree); len(found) > 0 {
				t.Error(describe(rule.Name, rule.Why, found))
			}
		})
	}
	for _, name := range staleReveals(tree) {
		t.Errorf("%s is listed as revealing a secret and does not: remove it from the list", name)
	}
}

// contracts are all files of ours. The imports above link them in; a contract that is not linked in
// is found by its file.
func contracts(t *testing.T) []protoreflect.FileDescriptor {
	t.Helper()
	_ = []protoreflect.FileDescriptor{
		eventsv1.File_claviger_events_v1_usage_event_proto,
		keysv1.File_claviger_keys_v1_api_key_proto,
		meteringv1.File_claviger_metering_v1_usage_proto,
		optionsv1.File_claviger_options_v1_options_proto,
		routerv1.File_claviger_router_v1_completion_proto,
		settingsv1.File_claviger_settings_v1_settings_proto,
	}
	const root = "../../proto"
	var files []protoreflect.FileDescriptor
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".proto") {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file, err := protoregistry.GlobalFiles.FindFileByPath(filepath.ToSlash(rel))
		if err != nil {
			return fmt.Errorf("%s: import its package in this test: %w", rel, err)
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheContractsKeepTheirRules(t *testing.T) {
	t.Parallel()
	files := contracts(t)
	for _, rule := range ContractRules {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			if found := rule.Check(files); len(found) > 0 {
				t.Error(describe(rule.Name, rule.Why, found))
			}
		})
	}
}

// Each case is a file that breaks exactly one rule, so that a rule that sees nothing any more is found.
func TestEachRuleFindsWhatBreaksIt(t *testing.T) {
	t.Parallel()
	const doc = "// Package p is for tests.\n"
	cases := map[string]map[string]string{
		"domain packages know no wire and no table": {
			"services/keys/internal/credential/a.go": doc + "package p\nimport _ \"connectrpc.com/connect/v2\"",
			"services/keys/internal/policy/a.go":     doc + "package p\nimport _ \"github.com/claviger/claviger/services/keys/internal/store\"",
			"services/router/internal/plan/a.go":     doc + "package p\nimport _ \"net/http\"",
			"services/router/internal/limit/a.go":    doc + "package p\nimport _ \"github.com/claviger/claviger/pkg/sqldb\"",
		},
		"edges import only their own technology": {
			"services/keys/internal/store/a.go": doc + "package p\nimport _ \"github.com/claviger/claviger/proto/gen/claviger/keys/v1\"",
			"services/keys/internal/rpc/a.go":   doc + "package p\nimport _ \"net/http\"",
		},
		"SQL drivers appear in store and pkg/sqldb only": {
			"services/keys/keys.go": doc + "package p\nimport _ \"database/sql\"",
			"tools/suite/a.go":      doc + "package p\nimport _ \"github.com/uptrace/bun\"",
			"pkg/jetstream/a.go":    doc + "package p\nimport _ \"modernc.org/sqlite\"",
		},
		"services do not import each other": {
			"services/keys/keys.go": doc + "package p\nimport _ \"github.com/claviger/claviger/services/router\"",
		},
		"pkg knows no service and no contract but the access option": {
			"pkg/serve/a.go": doc + "package p\nimport _ \"github.com/claviger/claviger/proto/gen/claviger/keys/v1\"",
		},
		"test packages are imported by tests, tools and test packages only": {
			"services/router/providers.go": doc + "package p\nimport _ \"github.com/claviger/claviger/pkg/llmtest\"",
		},
		"provider folders import each other through form only": {
			"services/router/internal/provider/gemini/a.go": doc + "package p\nimport _ \"github.com/claviger/claviger/services/router/internal/provider/openai\"",
		},
		"every package has one package comment": {
			"pkg/a/a.go": "package p",
			"pkg/b/a.go": "// Things.\npackage p",
			"pkg/c/a.go": doc + "package p", "pkg/c/b.go": doc + "package p",
			"tools/cmd/x/main.go": "// Package main.\npackage main",
		},
		"exported names are documented": {
			"pkg/a/a.go": doc + "package p\ntype T struct{}",
			"pkg/b/a.go": doc + "package p\n// T is.\ntype T struct{}\nfunc (*T) M() {}",
			"pkg/c/a.go": doc + "package p\nconst A = 1",
		},
		"secrets are revealed only where they are listed": {
			"pkg/a/a.go": doc + "package p\nfunc f() { _ = text.Reveal() }",
			"pkg/b/a.go": doc + "package p\nvar f = text.Reveal",
		},
		"pkg/egress is the only way out": {
			"pkg/a/a.go": doc + "package p\nimport \"net/http\"\nvar _ = http.DefaultClient",
			"pkg/b/a.go": doc + "package p\nimport \"net/http\"\nvar _ = &http.Client{Timeout: 1}",
			"pkg/c/a.go": doc + "package p\nimport web \"net/http\"\nfunc f() { _, _ = web.Get(\"x\") }",
			"pkg/d/a.go": doc + "package p\nimport \"net\"\nvar _ = net.Dialer{}",
		},
	}
	for _, rule := range Rules {
		files := cases[rule.Name]
		if len(files) == 0 {
			t.Errorf("no case breaks the rule %q", rule.Name)
		}
		sources := map[string][]byte{}
		for name, text := range files {
			sources[name] = []byte(text)
		}
		tree, err := Parse(sources)
		if err != nil {
			t.Fatal(err)
		}
		report := describe(rule.Name, rule.Why, rule.Check(tree))
		for _, p := range tree.Packages {
			if !strings.Contains(report, p.Path) {
				t.Errorf("rule %q does not find what is wrong in %s:\n%s", rule.Name, p.Path, report)
			}
		}
	}
}

func TestAPatternIsABoundOnlyIfItIsAnchoredAndFinite(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"^[a-z]{1,31}$":     true,
		"^(a|b)$":           true,
		"^[a-z]+$":          false,
		"[a-z]{1,31}":       false,
		"^a{2,}$":           false,
		"^[a-z](x[0-9]*)?$": false,
	} {
		if got := finite(pattern); got != want {
			t.Errorf("finite(%q) = %v, want %v", pattern, got, want)
		}
	}
}
