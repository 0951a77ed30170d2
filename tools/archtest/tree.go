// Package archtest holds the rules of the code base that a compiler does not know: which package may
// import what, who may reveal a secret, what every contract must say. They run as ordinary tests, and
// a failure names the rule and its reason.
//
// Rules read source text and descriptors, not types, so they see what a reader sees. A rule is never
// weakened to let code pass: the code changes, or the exception is written beside the rule with why.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Root is the import path that all our modules share.
const Root = "github.com/claviger/claviger/"

// Tree is the Go source of the workspace, without generated code.
type Tree struct {
	Packages []*Package
	fset     *token.FileSet
}

// Package is one folder of Go files.
type Package struct {
	// Path is the import path below Root, such as "services/keys/internal/rpc".
	Path string
	// Name is the package clause of its files that are not tests.
	Name  string
	Files []*File
}

// File is one Go file.
type File struct {
	Name    string
	Test    bool
	Syntax  *ast.File
	Imports []Import
}

// Import is one import of a file.
type Import struct {
	Path string
	// Name is what the file calls it, as far as that can be read without loading the package.
	Name string
	Pos  token.Pos
}

// Violation is a place where a rule is broken.
type Violation struct {
	Place   string
	Message string
}

// String is the violation as a line for people.
func (v Violation) String() string { return v.Place + ": " + v.Message }

// Load reads the source below dir, the folder of go.work.
func Load(dir string) (*Tree, error) {
	sources := map[string][]byte{}
	for _, module := range []string{"pkg", "services", "tools"} {
		err := filepath.WalkDir(filepath.Join(dir, module), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if skipped(d.Name()) || ownModule(dir, name) {
					return filepath.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(name, ".go") || d.Name() == "zz_deps.go" {
				return nil
			}
			text, err := os.ReadFile(name) //nolint:gosec // our own source tree
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, name)
			sources[filepath.ToSlash(rel)] = text
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", module, err)
		}
	}
	return Parse(sources)
}

func skipped(folder string) bool {
	return folder == "testdata" || folder == "node_modules" || strings.HasPrefix(folder, ".")
}

// ownModule reports whether folder is a module of its own outside the workspace: it is built for its
// own purpose, with its own dependencies.
func ownModule(dir, folder string) bool {
	rel, err := filepath.Rel(filepath.Join(dir, "tools"), folder)
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") {
		return false
	}
	_, err = os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// Parse builds a tree from source texts by file name, such as "pkg/id/id.go".
func Parse(sources map[string][]byte) (*Tree, error) {
	tree := &Tree{fset: token.NewFileSet()}
	packages := map[string]*Package{}
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		syntax, err := parser.ParseFile(tree.fset, name, sources[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse: %w", err)
		}
		if ast.IsGenerated(syntax) {
			continue
		}
		folder := path.Dir(name)
		p := packages[folder]
		if p == nil {
			p = &Package{Path: folder}
			packages[folder] = p
			tree.Packages = append(tree.Packages, p)
		}
		f := &File{Name: name, Test: strings.HasSuffix(name, "_test.go"), Syntax: syntax, Imports: imports(syntax)}
		if !f.Test {
			p.Name = syntax.Name.Name
		}
		p.Files = append(p.Files, f)
	}
	return tree, nil
}

func imports(f *ast.File) []Import {
	var list []Import
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' {
			name = path.Base(path.Dir(p)) // …/connect/v2 is connect
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		list = append(list, Import{Path: p, Name: name, Pos: spec.Pos()})
	}
	return list
}

func (t *Tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// eachImport calls visit for every import that is not in a test file.
func (t *Tree) eachImport(visit func(p *Package, i Import)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, i := range f.Imports {
				visit(p, i)
			}
		}
	}
}

// within reports whether the slash-separated p is folder or below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// ours returns the path below Root of one of our own packages.
func ours(importPath string) (string, bool) { return strings.CutPrefix(importPath, Root) }

// service splits "services/keys/internal/rpc" into "keys" and "rpc". The rest is empty for what is
// not internal.
func service(p string) (name, rest string, ok bool) {
	p, ok = strings.CutPrefix(p, "services/")
	if !ok {
		return "", "", false
	}
	name, rest, _ = strings.Cut(p, "/")
	rest, internal := strings.CutPrefix(rest, "internal/")
	if !internal {
		rest = ""
	}
	return name, rest, true
}
