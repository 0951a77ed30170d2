package demo_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/cli"
	"github.com/claviger/claviger/tools/demo"
)

func TestTheStoryIsToldAndLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, Exit: true}); err != nil {
		t.Fatalf("Run = %v\n%s", err, out.String())
	}
	for _, want := range []string{
		`✓ .* The operator creates the organization acme`,
		`✓ .* Its owner signs in`,
		`the key works`,
		`A key bearer carries the keys`,
		`line 2 +anthropic/claude-haiku-4-5 +on the platform's`,
		`1 +openai/gpt-4o-mini +own, main +at most \$0\.000\d+\n +2 +anthropic/claude-haiku-4-5 +platform +at most \$0\.00\d+`,
		`1 +openai/gpt-4o-mini +own +rate limited\n +2 +anthropic/claude-haiku-4-5 +platform +answered\n +policy main, version 1, line 2 +\$0\.000\d+`,
		`openai/gpt-4o-mini, own +18 tokens in, \d+ out +\$0\.0000\d+`,
		`anthropic/claude-haiku-4-5, platform +16 tokens in, \d+ out +\$0\.000\d+`,
		`complete through`,
		`req_\w+ +\$0\.000\d+`,
		`attempt 1 +openai/gpt-4o-mini +rate limited +refused after `,
		`attempt 2 +anthropic/claude-haiku-4-5 +ok +first word after `,
		`http://127\.0\.0\.1:\d+/sign-in\?org=acme\n +organization +acme\n +address +owner@acme\.example\n +password +[A-Z2-7]{26}\n`,
		`curl -N http://127\.0\.0\.1:\d+/v1/chat/completions`,
		`OpenAI\(base_url="http://127\.0\.0\.1:\d+/v1"`,
		`\n\.bin/grpcurl -plaintext`,
		`data in \S+, removed at the end`,
		`it takes 138 ms to its first word and 18 ms to each further one`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the output does not hold %q", want)
		}
	}
	if strings.Contains(out.String(), "clv_live_") && regexp.MustCompile(`clv_live_\w{10}_`).MatchString(out.String()) {
		t.Error("the output holds an API key")
	}
	if t.Failed() {
		t.Log(out.String())
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "claviger-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAKeyThatTheProviderRefusesFailsTheStory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{Out: &out, Exit: true, ScriptedKey: secret.New("sk-invalid-0123456789")})
	if err == nil || !strings.Contains(err.Error(), "the provider refuses the key") || !strings.Contains(err.Error(), "the log is in") {
		t.Fatalf("Run = %v\n%s", err, out.String())
	}
}

func TestATakenPortSaysWhatToDo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	address, ok := taken.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("address = %v", taken.Addr())
	}
	err = demo.Run(t.Context(), demo.Options{Out: io.Discard, Exit: true, Port: address.Port})
	if err == nil || !strings.Contains(err.Error(), "PORT=0") {
		t.Fatalf("Run = %v, want a hint to another port", err)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "claviger-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The lines to paste are run as a person would, as far as the machine has what they need.
func TestThePrintedLinesWork(t *testing.T) {
	dir := t.TempDir()
	out := &announced{ready: make(chan string, 1)}
	ctx, stop := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- demo.Run(ctx, demo.Options{Out: out, Dir: dir}) }()
	var text string
	select {
	case text = <-out.ready:
	case err := <-done:
		t.Fatalf("Run = %v\n%s", err, out.String())
	}
	for title, want := range map[string]string{"curl": "[DONE]", "gRPC": `"finished"`} {
		command := block(t, text, title)
		tool, _, _ := strings.Cut(command, " ")
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not on this machine", tool)
			continue
		}
		shell := exec.CommandContext(ctx, "sh", "-c", command)
		answer, err := shell.CombinedOutput()
		if err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %v\n%s\n%s", title, err, command, answer)
		}
	}
	explainAsPrinted(t, text)
	signInAsPrinted(t, text)
	stop()
	if err := <-done; err != nil {
		t.Fatalf("Run = %v", err)
	}
}

// explainAsPrinted runs the printed command of the program, which is not built here.
func explainAsPrinted(t *testing.T, text string) {
	t.Helper()
	words := strings.Fields(block(t, text, "What would serve a request"))
	if words[0] != ".bin/claviger" {
		t.Fatalf("the printed command is %q", words)
	}
	var told, complaint bytes.Buffer
	grammar := &struct{ cli.Commands }{}
	code := cli.Run(t.Context(), cli.Program{Name: "claviger", Grammar: grammar}, words[1:], cli.Streams{Out: &told, Err: &complaint})
	if code != 0 || !strings.Contains(told.String(), "openai/gpt-4o-mini") || !strings.Contains(told.String(), "platform") {
		t.Errorf("%v = %d\n%s%s", words, code, told.String(), complaint.String())
	}
}

// signInAsPrinted opens the page and signs in with what stands below it.
func signInAsPrinted(t *testing.T, text string) {
	t.Helper()
	printed := regexp.MustCompile(`(http://\S+)/sign-in\?org=\S+\n +organization +(\S+)\n +address +(\S+)\n +password +(\S+)`).FindStringSubmatch(text)
	if printed == nil {
		t.Fatalf("no sign-in in\n%s", text)
	}
	page, err := http.Get(printed[1] + "/sign-in?org=" + printed[2])
	if err != nil {
		t.Fatal(err)
	}
	_ = page.Body.Close()
	if kind := page.Header.Get("Content-Type"); page.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/html") {
		t.Errorf("the printed page = %s %s", page.Status, kind)
	}
	in, err := keysv1connect.NewSessionServiceClient(connect.NewClient(connecthttp.NewTransport(http.DefaultClient, printed[1]))).SignIn(
		t.Context(), &keysv1.SignInRequest{Organization: printed[2], Email: printed[3], Password: printed[4]})
	if err != nil || in.GetMember().GetEmail() != printed[3] {
		t.Errorf("SignIn with what is printed = %s, %v", in.GetMember().GetEmail(), err)
	}
}
