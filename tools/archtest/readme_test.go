package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	createTable = regexp.MustCompile(`(?i)create table (?:if not exists )?([a-z_]+)`)
	codeWord    = regexp.MustCompile("`([a-z_]+)`")
)

// TestAReadmeListsTheTablesOfItsService: what stands under "Tables" is what the migrations make.
func TestAReadmeListsTheTablesOfItsService(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"keys", "metering"} {
		root := filepath.Join("../../services", service)
		var made []string
		files, err := filepath.Glob(filepath.Join(root, "internal/store/migrations/*.sql"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no migrations: %v", service, err)
		}
		for _, file := range files {
			for _, m := range createTable.FindAllStringSubmatch(read(t, file), -1) {
				made = append(made, m[1])
			}
		}
		_, section, found := strings.Cut(read(t, filepath.Join(root, "README.md")), "\n## Tables\n")
		if !found {
			t.Fatalf("%s: the README has no tables", service)
		}
		var listed []string
		for line := range strings.Lines(section) {
			if cells := strings.Split(line, "|"); len(cells) > 2 {
				for _, m := range codeWord.FindAllStringSubmatch(cells[1], -1) {
					listed = append(listed, m[1])
				}
			}
		}
		slices.Sort(made)
		slices.Sort(listed)
		if !slices.Equal(made, listed) {
			t.Errorf("%s: the README lists the tables\n  %v, and the migrations make\n  %v", service, listed, made)
		}
	}
}

// TestAReadmeNamesTheServicesOfItsContracts: the part of a name before "Service" is enough.
func TestAReadmeNamesTheServicesOfItsContracts(t *testing.T) {
	t.Parallel()
	named := 0
	for _, file := range contracts(t) {
		parts := strings.Split(string(file.Package()), ".")
		readme := filepath.Join("../../services", parts[1], "README.md")
		if _, err := os.Stat(readme); err != nil {
			continue // not a service of ours
		}
		text := read(t, readme)
		for i := range file.Services().Len() {
			name := strings.TrimSuffix(string(file.Services().Get(i).Name()), "Service")
			named++
			if !regexp.MustCompile(`\b` + name + `(Service)?\b`).MatchString(text) {
				t.Errorf("%s does not name %s", readme, file.Services().Get(i).FullName())
			}
		}
	}
	if named < 15 {
		t.Errorf("%d services were looked for, so the test looks in the wrong place", named)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
