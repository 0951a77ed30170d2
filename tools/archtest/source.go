package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// reveals lists who may call secret.Text.Reveal: "<package>.<function>" with the party that gets the
// plaintext there.
var reveals = map[string]string{ //nolint:gosec // names of functions
	"pkg/apikey.Hash":                                      "HMAC, whose result is no secret",
	"pkg/transit.keysetSealer.Seal":                        "the local keyset that seals it",
	"pkg/transit.vaultSealer.Seal":                         "Vault, which seals it",
	"pkg/transit.NewVault":                                 "the Vault client: our own token",
	"pkg/transit.session.tryLogIn":                         "Vault: our own AppRole secret",
	"pkg/keyform.Parse":                                    "a check of its length and characters",
	"pkg/keyform.parseGoogle":                              "a decoder of its form, whose secrets are wrapped again",
	"pkg/keyform.readDocument":                             "a decoder of its form, whose secrets are wrapped again",
	"pkg/keyform.AWS.form":                                 "its normal form, which is wrapped again",
	"pkg/keyform.Azure.form":                               "its normal form, which is wrapped again",
	"pkg/keyform.Google.form":                              "its normal form, which is wrapped again",
	"services/keys/internal/password.Hasher.Hash":          "argon2id, whose result is no secret",
	"services/keys/internal/password.Hasher.Verify":        "argon2id, whose result is no secret",
	"services/keys/internal/session.hash":                  "SHA-256, whose result is no secret",
	"services/router/internal/snapshot.newHasher":          "HMAC, whose result is no secret: the pepper",
	"services/router/internal/offline.newFile":             "AES, whose result is no way back: the router's own key",
	"services/router/internal/offline.encode":              "the file that is sealed under the router's own key, if the operator chose it",
	"services/router/internal/media.newSealer":             "HKDF, whose result is no way back: the pepper",
	"services/keys.minter":                                 "HMAC, whose result is no secret",
	"services/keys/internal/rpc.apiKeyServer.CreateApiKey": "the caller who creates the API key, this once",
	"services/keys/internal/rpc.sessionServer.SignIn":      "the caller who signs in",
	"services/keys/internal/cookie.Set":                    "the browser of the caller who signs in",
	"services/router/internal/provider.Outgoing.header":    "the provider: the line that signs a request",
	"services/router/internal/provider/vertex.sign":        "RSA, whose signature goes to Google in its place",
	"services/router/internal/provider.Together":           "what Scrub searches for, a secret again",
	"services/router/internal/provider.holds":              "a search for it in what must not hold it",
	"services/router/internal/provider.Scrub":              "a search for it in what must not hold it",
	"tools/demo.admin":                                     "the person at the terminal: a password of this run",
	"tools/cli.contextFile.save":                           "the file with mode 0600 that keeps the session",
	"tools/cli.client.authorize":                           "the installation: the access token of the session",
	"tools/cli.client.token":                               "the control plane: the session token",
	"tools/cli.signInCommand.Run":                          "the control plane: the password of an account",
	"tools/cli.changePasswordCommand.Run":                  "the control plane: the passwords of an account",
	"tools/cli.credentialCreateCommand.Run":                "the control plane, which seals it",
	"tools/cli.credentialRotateCommand.Run":                "the control plane, which seals it",
	"tools/cli.credentialStageCommand.Run":                 "the control plane, which seals it",
	"tools/cli.memberAddCommand.Run":                       "the control plane: the first password of a member",
	"tools/cli.terminal.showKey":                           "the person who creates the API key, this once",
	"tools/cli.pending.keep":                               "the file with mode 0600 that was asked for",
	"tools/demo.Story.session":                             "the control plane: the password of an account",
	"tools/demo.Story.createOrganization":                  "the control plane: the owner's first password",
	"tools/demo.Story.addCredential":                       "the control plane, which seals it",
	"tools/demo.Story.createAPIKey":                        "the file with mode 0600 that the examples read",
	"tools/demo.Story.post":                                "the router: an API key",
	"tools/suite.open":                                     "the key of fingerprints",
	"tools/seed.signIn":                                    "the control plane: the password of an account",
	"tools/seed.Bearer":                                    "the control plane: the access token of the session",
	"tools/seed.applyOrganization":                         "the control plane: the owner's first password",
	"tools/seed.credentials.one":                           "the control plane, which seals it",
	"tools/seed.credentials.update":                        "the control plane, which seals it",
	"tools/seed.parsing.owner":                             "the field rules of the contract",
	"tools/seed.parsing.credentials":                       "the field rules of the contract",
	"tools/seed.state.fingerprint":                         "HMAC, whose result is no secret",
	"tools/seed.pending.keep":                              "the file with mode 0600 that the operator asked for",

	"services/router/internal/provider/bedrock.account.sign": "the AWS SDK's signer, whose result is no secret",
}

// packageComments wants one comment per package, in one file, that begins as go doc shows it.
func packageComments(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.Name == "" {
			continue // only tests
		}
		var with []string
		for _, f := range p.Files {
			if f.Test || f.Syntax.Doc == nil {
				continue
			}
			with = append(with, f.Name)
			want := "Package " + p.Name + " "
			if p.Name == "main" {
				want = "Command "
			}
			if !strings.HasPrefix(f.Syntax.Doc.Text(), want) {
				found = append(found, Violation{t.at(f.Syntax.Doc.Pos()), fmt.Sprintf("the package comment does not begin with %q", want)})
			}
		}
		if len(with) != 1 {
			found = append(found, Violation{p.Path, fmt.Sprintf("package %s has %d package comments %v, want one", p.Name, len(with), with)})
		}
	}
	return found
}

func exportedComments(t *Tree) []Violation {
	var found []Violation
	missing := func(kind string, name *ast.Ident) {
		found = append(found, Violation{t.at(name.Pos()), fmt.Sprintf("exported %s %s has no comment", kind, name.Name)})
	}
	for _, p := range t.Packages {
		if p.Name == "main" {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, decl := range f.Syntax.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
						missing("function", d.Name)
					}
				case *ast.GenDecl:
					for _, name := range undocumented(d) {
						missing(d.Tok.String(), name)
					}
				}
			}
		}
	}
	return found
}

// exportedReceiver is true for functions and for methods of exported types: others are reached through
// an interface, which has the comment.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	name := receiver(d)
	return name != "" && token.IsExported(name)
}

func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// undocumented returns the exported names of d that neither d nor their own line documents.
func undocumented(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || s.Doc != nil || s.Comment != nil {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// revealCallers finds every use of a selector named Reveal outside tests and test packages.
func revealCallers(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.Path == "pkg/secret" || isTestPackage(p.Path) || within(p.Path, "tools/e2e") {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			eachFunction(f, func(name string, body ast.Node) {
				caller := p.Path + "." + name
				ast.Inspect(body, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" && reveals[caller] == "" {
						found = append(found, Violation{t.at(s.Pos()), fmt.Sprintf("%s reveals a secret and is not listed", caller)})
					}
					return true
				})
			})
		}
	}
	return found
}

// staleReveals returns listed callers that reveal nothing any more.
func staleReveals(t *Tree) []string {
	used := map[string]bool{}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			eachFunction(f, func(name string, body ast.Node) {
				ast.Inspect(body, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
						used[p.Path+"."+name] = true
					}
					return true
				})
			})
		}
	}
	var stale []string
	for name := range reveals {
		if !used[name] {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale
}

// eachFunction visits every declaration of a file: functions under "Name" or "Type.Name", all else
// under "var".
func eachFunction(f *File, visit func(name string, body ast.Node)) {
	for _, decl := range f.Syntax.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d) + "." + name
			}
			visit(name, d)
		case *ast.GenDecl:
			visit("var", d)
		}
	}
}

// shortcuts are the names of the standard library that reach the network past pkg/egress.
var shortcuts = map[string][]string{
	"net/http":   {"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
	"net":        {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "Dialer"},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
}

// dialers are the packages outside pkg/egress that may dial: they reach the operator's own parts, whose
// addresses come from the configuration and never from a tenant.
var dialers = map[string]string{
	"pkg/transit": "Vault",
}

func wayOut(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if within(p.Path, "pkg/egress") || within(p.Path, "tools") || isTestPackage(p.Path) || dialers[p.Path] != "" {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			names := map[string]string{}
			for _, i := range f.Imports {
				names[i.Name] = i.Path
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if lit, ok := n.(*ast.CompositeLit); ok && selects(lit.Type, names, "net/http", "Client") && !hasKey(lit, "Transport") {
					found = append(found, Violation{t.at(lit.Pos()), "an http.Client without a transport uses the default one"})
				}
				for from, members := range shortcuts {
					for _, member := range members {
						if selects(n, names, from, member) {
							found = append(found, Violation{t.at(n.Pos()), fmt.Sprintf("%s uses %s.%s", p.Path, from, member)})
						}
					}
				}
				return true
			})
		}
	}
	return found
}

// selects reports whether n is the selector of a package's member, such as http.Get.
func selects(n ast.Node, names map[string]string, importPath, member string) bool {
	s, ok := n.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != member {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && names[x.Name] == importPath
}

func hasKey(lit *ast.CompositeLit, key string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		id, ok := kv.Key.(*ast.Ident)
		return ok && id.Name == key
	})
}
