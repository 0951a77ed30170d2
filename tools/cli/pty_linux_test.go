package cli_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// screen is a terminal that a test looks at and types on.
type screen struct {
	t       *testing.T
	control *os.File
	inside  *os.File // the end that a program has
	shown   *safeBuffer
}

func newScreen(t *testing.T, columns uint16) *screen {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns}); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, control: control, inside: inside, shown: &safeBuffer{}}
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := control.Read(buffer)
			_, _ = s.shown.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = inside.Close() // the reader ends when the last one does
		reading.Wait()
		_ = control.Close()
	})
	return s
}

func (s *screen) waits(text string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%q on the screen", text), func() error {
		if strings.Contains(s.shown.String(), text) {
			return nil
		}
		return errors.New(s.shown.String())
	})
}

func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := s.control.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// at runs a command with the screen as its terminal.
func (p *person) at(s *screen, args ...string) chan int {
	done := make(chan int, 1)
	go func() { done <- p.start(p.world.t.Context(), s.inside, s.inside, s.inside, args...) }()
	return done
}

func TestAPersonAtATerminalIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.owner
	s := newScreen(t, 100)
	done := p.at(s, "sign-in", "--address", w.address)
	s.waits("Organization: ")
	s.types(w.organization + "\n")
	s.waits("Email: ")
	s.types("owner@acme.example\n")
	s.waits("Password: ")
	s.types("something else SECRETMARK\x15" + password + "xx\x7f\b\r") // erased, and corrected
	if code := <-done; code != 0 {
		t.Fatalf("sign-in = %d\n%s", code, s.shown.String())
	}
	s.waits("Signed in to")

	done = p.at(s, "credential", "create", "--provider", "openai", "--label", "main")
	s.waits("Provider key: ")
	s.types(goodKey + "\n")
	s.waits("bills it? [y/N] ")
	s.types("y\n")
	if code := <-done; code != 0 {
		t.Fatalf("credential create = %d\n%s", code, s.shown.String())
	}
	if strings.Contains(s.shown.String(), mark) {
		t.Error("what was typed in secret stands on the screen")
	}
	done = p.at(s, "credential", "rotate", "main")
	eventually(t, "the second question", func() error {
		if strings.Count(s.shown.String(), "Provider key: ") == 2 {
			return nil
		}
		return errors.New(s.shown.String())
	})
	s.types("\x03") // Ctrl-C
	if code := <-done; code != 1 {
		t.Errorf("an interrupted rotate = %d", code)
	}
	done = p.at(s, "credential", "delete", "main")
	s.waits("removed for good. Go on? [y/N] ")
	s.types("n\n")
	if code := <-done; code != 1 {
		t.Errorf("a delete that was not wanted = %d", code)
	}
	s.waits("nothing was done")
	p.run("", "credential", "get", "main").ok()
}

func TestATerminalGetsColoursAndLinesThatFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	long := strings.Repeat("a long name ", 6) + "!"
	p.run(goodKey, "credential", "create", "--provider", "openai", "--label", long, "--secret-stdin", "--accept-terms").ok()
	for _, c := range []struct {
		columns uint16
		env     map[string]string
		colours bool
	}{{60, nil, true}, {200, nil, true}, {60, map[string]string{"NO_COLOR": "1"}, false}, {60, map[string]string{"TERM": "dumb"}, false}} {
		s := newScreen(t, c.columns)
		maps.Copy(p.env, c.env)
		if code := <-p.at(s, "credential", "list"); code != 0 {
			t.Fatalf("credential list = %d", code)
		}
		s.waits("active")
		for name := range c.env {
			delete(p.env, name)
		}
		shown := s.shown.String()
		if got := strings.Contains(shown, "\x1b["); got != c.colours {
			t.Errorf("%d columns, %v: colours = %v", c.columns, c.env, got)
		}
		for _, style := range []string{"\x1b[0m", "\x1b[2m", "\x1b[32m"} {
			shown = strings.ReplaceAll(shown, style, "")
		}
		for line := range strings.SplitSeq(shown, "\r\n") {
			if n := len([]rune(line)); n > int(c.columns) {
				t.Errorf("a line has %d cells on a terminal of %d: %s", n, c.columns, line)
			}
		}
		if cut := strings.Contains(shown, "…"); !cut || strings.Contains(shown, "cred_") != (c.columns == 200) {
			t.Errorf("%d columns show\n%s", c.columns, shown)
		}
	}
	if r := p.run("", "credential", "list").ok(); !strings.Contains(r.out, long) || strings.Contains(r.out, "\x1b") {
		r.fail("a pipe gets colours, or names that are cut")
	}
}

// shells are those that must be there: bash, and what CLAVIGER_TEST_SHELLS adds. Others are tried if
// they are installed.
func shells(t *testing.T) []string {
	t.Helper()
	wanted := strings.Fields("bash " + os.Getenv("CLAVIGER_TEST_SHELLS"))
	for _, name := range []string{"zsh", "fish"} {
		if _, err := exec.LookPath(name); err == nil && !strings.Contains(strings.Join(wanted, " "), name) {
			wanted = append(wanted, name)
		}
	}
	return wanted
}

// TestRealShellsCompleteCommandsFlagsAndNames presses Tab in real shells.
func TestRealShellsCompleteCommandsFlagsAndNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	for _, label := range []string{"main key", "house"} {
		p.run(goodKey, "credential", "create", "--provider", "openai", "--label", label, "--secret-stdin", "--accept-terms", "--no-test").ok()
	}
	p.run("", "policy", "create", "primary", "--target", "openai/gpt-4o=own").ok()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "claviger")); err != nil {
		t.Fatal(err)
	}
	start := map[string][]string{
		"bash": {"bash", "--norc", "--noprofile", "-i"},
		"zsh":  {"zsh", "-f", "-i"},
		"fish": {"fish", "--no-config", "-i"},
	}
	// The command itself prints its arguments in place of running, so that they can be looked at.
	const spy = `claviger() { if [ "$1" = __complete ]; then command claviger "$@"; else printf 'ARGS:'; printf '<%s>' "$@"; echo; fi; }; `
	load := map[string]string{
		"bash": spy + `PS1="$ "; bind "set bell-style none"; source <(command claviger completion bash); echo lo''aded` + "\n",
		"zsh":  spy + `PS1="$ "; autoload -Uz compinit; compinit -u -D; source <(command claviger completion zsh); echo lo''aded` + "\n",
		"fish": `function fish_prompt; echo "> "; end; command claviger completion fish | source; ` +
			`function claviger; if test "$argv[1]" = __complete; command claviger $argv; else; printf 'ARGS:'; printf '<%s>' $argv; echo; end; end; echo lo''aded` + "\n",
	}
	for _, name := range shells(t) {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t, 200)
			shell := exec.CommandContext(t.Context(), start[name][0], start[name][1:]...)
			shell.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(shell.Dir, "provider-key.txt"), []byte(goodKey), 0o600); err != nil {
				t.Fatal(err)
			}
			shell.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + shell.Dir, "TERM=xterm", "LANG=C.UTF-8", "CLAVIGER_CONFIG=" + p.config}
			shell.Stdin, shell.Stdout, shell.Stderr = s.inside, s.inside, s.inside
			shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = shell.Process.Kill()
				_ = shell.Wait()
			})
			s.types(load[name])
			s.waits("loaded")
			for typed, want := range map[string]string{
				"credential ge\thou\t-o js\t":                     "<credential><get><house><-o><json>",
				"credential get mai\t-q":                          "<credential><get><main key><-q>",
				"pol\tget pri\t--outp\tjs\t":                      "<policy><get><primary><--output><json>",
				"policy create x --target openai/gpt-4o-mini=o\t": "<policy><create><x><--target><openai/gpt-4o-mini=own>",
				"credential rotate house --secret-file prov\t":    "<credential><rotate><house><--secret-file><provider-key.txt>",
				"whoami --context " + w.organization[:8] + "\t":   "<whoami><--context><" + w.organization + ">",
			} {
				s.types("claviger " + typed + "\n")
				s.waits("ARGS:" + want)
			}
		})
	}
}
