package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is one rule of the source tree.
type Rule struct {
	Name string
	// Why is what would go wrong without it.
	Why   string
	Check func(*Tree) []Violation
}

// Rules are all rules of the source tree.
var Rules = []Rule{
	{
		"domain packages know no wire and no table",
		"what is decided must be readable and testable without a server, a database or a broker",
		domainImports,
	},
	{
		"edges import only their own technology",
		"generated code stops at rpc, clients and event coding; SQL at the store; net/http at the HTTP edge and the providers",
		edgeImports,
	},
	{
		"SQL drivers appear in store and pkg/sqldb only",
		"only the store may know a driver and translate its errors",
		sqlImports,
	},
	{
		"services do not import each other",
		"the contracts are the only thing that services share by name",
		serviceImports,
	},
	{
		"pkg knows no service and no contract but the access option",
		"plumbing that knows the business cannot be shared by all of it",
		pkgImports,
	},
	{
		"test packages are imported by tests, tools and test packages only",
		"a scripted provider or a test server must not reach what we ship",
		testImports,
	},
	{
		"provider folders import each other through form only",
		"a provider that leans on another one's conversion breaks when that provider changes its API",
		providerImports,
	},
	{
		"every package has one package comment",
		"it is the page that says what the package is for, promises and does not do",
		packageComments,
	},
	{
		"exported names are documented",
		"the reader of a call must not have to read the code behind it",
		exportedComments,
	},
	{
		"secrets are revealed only where they are listed",
		"each listed line hands a plaintext to the one party it is for",
		revealCallers,
	},
	{
		"pkg/egress is the only way out",
		"a client without its guarded dialer can be pointed at metadata services and our own listeners",
		wayOut,
	},
}

// domainPackages are what a domain package may import of pkg. transit is there for the typed context
// that a sealed text is bound to, pricing, catalog and keyform because they are pure.
var domainPackages = []string{"pkg/fault", "pkg/id", "pkg/keyform", "pkg/secret", "pkg/transit", "pkg/pricing", "pkg/catalog", "pkg/spelling"}

// domainModules are modules outside the standard library that a domain package may import: pure
// computation, waiting for goroutines, and a breaker, which is arithmetic over a clock.
var domainModules = []string{"golang.org/x/crypto/", "golang.org/x/sync/", "golang.org/x/text/", "github.com/sony/gobreaker/"}

// technology is a kind of thing that only edges may know.
type technology string

const (
	wire     technology = "generated code, protobuf, Connect or gRPC"
	web      technology = "net/http"
	table    technology = "SQL"
	broker   technology = "NATS"
	vault    technology = "Vault"
	egress   technology = "pkg/egress"
	anything technology = "another module"
)

// edges are the packages of services that are not domain, with what each may know. The name is
// "<service>/<path below internal>"; a folder stands for all below it.
var edges = map[string][]technology{
	"keys/rpc":        {wire},
	"keys/cookie":     {web},
	"keys/store":      {table},
	"keys/prices":     {wire},
	"router/rpc":      {wire},
	"router/httpapi":  {web, wire},
	"router/snapshot": {wire},
	"router/report":   {wire},
	"router/prices":   {wire},
	"router/keyring":  {},
	"router/observe":  {},
	"router/usage":    {wire, broker},
	"router/dialect":  {web},
	"router/provider": {web, egress},
	"metering/rpc":    {wire},
	"metering/store":  {table},
	"metering/ingest": {wire, broker},
	"metering/follow": {wire},
}

// facts are edges whose types the domain may import all the same: the usage event is what the domain
// records, and its coding stands beside it.
var facts = []string{"services/router/internal/usage"}

// edge returns what the package at a path below services/<name>/internal may know.
func edge(service, rest string) ([]technology, bool) {
	for name, allowed := range edges {
		if within(service+"/"+rest, name) {
			return allowed, true
		}
	}
	return nil, false
}

// technologyOf says what an import brings in; empty for the standard library's neutral part.
func technologyOf(importPath string) technology {
	for _, t := range []struct {
		kind     technology
		prefixes []string
	}{
		{wire, []string{Root + "proto/", "connectrpc.com/", "google.golang.org/", "buf.build/", Root + "pkg/intercept", Root + "pkg/rpcmount", Root + "pkg/serve", Root + "pkg/configsig"}},
		{web, []string{"net/http", "golang.org/x/net/http"}},
		{table, []string{"database/sql", "github.com/uptrace/bun", "github.com/jackc/", "modernc.org/sqlite", "github.com/pressly/goose", Root + "pkg/sqldb"}},
		{broker, []string{"github.com/nats-io/", Root + "pkg/jetstream"}},
		{vault, []string{"github.com/hashicorp/vault"}},
		{egress, []string{Root + "pkg/egress"}},
	} {
		if slices.ContainsFunc(t.prefixes, func(prefix string) bool { return strings.HasPrefix(importPath, prefix) }) {
			return t.kind
		}
	}
	if first, _, _ := strings.Cut(importPath, "/"); strings.Contains(first, ".") && !strings.HasPrefix(importPath, Root) {
		return anything
	}
	return ""
}

func domainImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		name, rest, ok := service(p.Path)
		if _, isEdge := edge(name, rest); !ok || rest == "" || isEdge {
			return
		}
		if own, ok := ours(i.Path); ok {
			if slices.Contains(domainPackages, own) || within(own, "services/"+name+"/internal") && (!isEdgePath(own) || slices.Contains(facts, own)) {
				return
			}
		} else if kind := technologyOf(i.Path); kind == "" || kind == anything && allowedModule(i.Path) {
			return
		}
		found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("domain package %s imports %s", p.Path, i.Path)})
	})
	return found
}

func allowedModule(importPath string) bool {
	return slices.ContainsFunc(domainModules, func(prefix string) bool { return strings.HasPrefix(importPath, prefix) })
}

func isEdgePath(p string) bool {
	name, rest, ok := service(p)
	if !ok {
		return false
	}
	_, isEdge := edge(name, rest)
	return isEdge
}

func edgeImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		name, rest, ok := service(p.Path)
		allowed, isEdge := edge(name, rest)
		if !ok || !isEdge {
			return
		}
		kind := technologyOf(i.Path)
		if kind == "" || kind == anything || slices.Contains(allowed, kind) {
			return
		}
		found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s, which is %s", p.Path, i.Path, kind)})
	})
	return found
}

func sqlImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		_, rest, isService := service(p.Path)
		inStore := isService && within(rest, "store")
		// A service's root package opens the database that it hands to its store.
		isRoot := isService && rest == "" && strings.HasPrefix(i.Path, Root)
		if within(p.Path, "pkg/sqldb") || inStore || isRoot || technologyOf(i.Path) != table {
			return
		}
		if within(p.Path, "tools") && strings.HasPrefix(i.Path, Root) {
			return // the suite opens databases through pkg/sqldb
		}
		found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s", p.Path, i.Path)})
	})
	return found
}

func serviceImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		from, _, ok := service(p.Path)
		own, isOurs := ours(i.Path)
		if !ok || !isOurs {
			return
		}
		if to, _, isService := service(own); isService && to != from || within(own, "tools") {
			found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s", p.Path, own)})
		}
	})
	return found
}

func pkgImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		own, isOurs := ours(i.Path)
		if !within(p.Path, "pkg") || !isOurs {
			return
		}
		if within(own, "pkg") || own == "proto/gen/claviger/options/v1" {
			return
		}
		found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s", p.Path, own)})
	})
	return found
}

// isTestPackage reports whether p is a …test package or the part of one.
func isTestPackage(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if strings.HasSuffix(part, "test") {
			return true
		}
	}
	return false
}

func testImports(t *Tree) []Violation {
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		own, isOurs := ours(i.Path)
		if !isOurs || !isTestPackage(own) || within(p.Path, "tools") || isTestPackage(p.Path) {
			return
		}
		found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s", p.Path, own)})
	})
	return found
}

func providerImports(t *Tree) []Violation {
	const providers = "services/router/internal/provider/"
	var found []Violation
	t.eachImport(func(p *Package, i Import) {
		own, _ := ours(i.Path)
		from, ok := strings.CutPrefix(p.Path, providers)
		to, isProvider := strings.CutPrefix(own, providers)
		if !ok || !isProvider || strings.HasSuffix(to, "test") {
			return
		}
		from, _, _ = strings.Cut(from, "/")
		to, _, _ = strings.Cut(to, "/")
		if from != to && to != "form" {
			found = append(found, Violation{t.at(i.Pos), fmt.Sprintf("%s imports %s", p.Path, own)})
		}
	})
	return found
}
