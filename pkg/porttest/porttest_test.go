package porttest_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/porttest"
)

const ask = "CLAVIGER_PORTTEST_ASK"

func TestMain(m *testing.M) {
	if os.Getenv(ask) == "" {
		os.Exit(m.Run())
	}
	// The child of the test below: some addresses, kept until its input ends.
	for range 200 {
		address, err := porttest.Address()
		if err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(address + "\n")
	}
}

func TestNoPortIsGivenOutTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		address, err := porttest.Address()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("%s was given out twice", address)
		}
		seen[address] = true
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("the address cannot be listened on: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), ask+"=1")
	out, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Fields(string(out))
	if len(theirs) != 200 {
		t.Fatalf("the other process got %d addresses, want 200", len(theirs))
	}
	for _, address := range theirs {
		if seen[address] {
			t.Errorf("%s is held by this process and was given to another", address)
		}
	}
}
