// Package browser_test opens the admin in a real Chromium, against the real suite in a process of its
// own. What a person does is written in the *.test.mjs files beside this one, with Playwright; each of
// their tests appears as a subtest here.
//
// Pictures of every page go to CLAVIGER_SCREENSHOTS, or .cache/screenshots.
package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// root is the folder of go.work, from here.
const root = "../../.."

// event is what the reporter tells of one test of a Node file.
type event struct {
	Type, File, Error string
	// Name is the path of the test: its suites, and its own name.
	Name     []string
	Duration float64
	Skipped  bool
}

func TestTheAdminInARealBrowser(t *testing.T) {
	t.Parallel()
	script(t, "tools/ci/node.sh", "services/keys/web") // where Playwright is
	script(t, "tools/ci/web.sh")                       // before Go embeds it
	chromium := strings.TrimSpace(script(t, "tools/ci/chromium.sh"))
	w := start(t)
	facts, err := json.Marshal(map[string]any{
		"baseURL": w.baseURL, "provider": w.provider.URL, "providerKey": providerKey, "chromium": chromium,
		"people": w.people, "apiKeys": w.apiKeys, "screenshots": screenshots(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files with tests: %v", err)
	}
	// Measured on two cores: three minutes at a load of 10, more than six at a load of 20.
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	args := []string{"--test", "--test-reporter=./reporter.mjs", "--test-reporter-destination=stdout", "--test-concurrency=2"}
	if only := os.Getenv("CLAVIGER_BROWSER_ONLY"); only != "" {
		args = append(args, "--test-name-pattern="+only)
	}
	node := exec.CommandContext(ctx, "node", append(args, files...)...)
	var out, complaints bytes.Buffer
	node.Stdout, node.Stderr, node.WaitDelay = &out, &complaints, 10*time.Second
	node.Env = append(os.Environ(), "CLAVIGER_WORLD="+string(facts))
	err = node.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("node --test: %v", err)
	}
	seen := report(t, &out)
	// A file that breaks before its first test must not look like one without failures.
	for _, file := range files {
		if !slices.Contains(seen, file) {
			t.Errorf("%s: no test of it ran", file)
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("node --test: %v", err)
	}
	if t.Failed() {
		t.Logf("node said:\n%s", complaints.String())
	}
}

// report makes a subtest of each test, and returns the files that had one.
func report(t *testing.T, out *bytes.Buffer) (files []string) {
	t.Helper()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("node printed %q", lines.Text())
			continue
		}
		file := filepath.Base(e.File)
		if e.Type == "leaf" {
			files = append(files, file)
		}
		t.Run(strings.TrimSuffix(file, ".test.mjs")+"/"+strings.Join(e.Name, "/"), func(t *testing.T) {
			t.Logf("%.1fs", e.Duration/1000)
			switch {
			case e.Error != "":
				t.Error(e.Error)
			case e.Skipped:
				t.Error("it was skipped: everything that it needs is here")
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return files
}

// script runs a script of the repository and returns what it printed.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, name), args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, complaints.String())
	}
	return string(out)
}

// screenshots returns the folder for pictures, emptied.
func screenshots(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("CLAVIGER_SCREENSHOTS")
	if folder == "" {
		folder = filepath.Join(".cache", "screenshots")
	}
	if !filepath.IsAbs(folder) { // as whoever calls make sees it
		folder = filepath.Join(root, folder)
	}
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	old, globErr := filepath.Glob(filepath.Join(folder, "*.png"))
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	if err = errors.Join(err, globErr); err != nil {
		t.Fatal(fmt.Errorf("folder for screenshots: %w", err))
	}
	return folder
}
