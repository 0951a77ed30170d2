// Command natsd is a NATS server for tests that kill it: JetStream, every message synced. It prints
// "ready" and ends when its standard input does.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const readyTimeout = 10 * time.Second

func main() {
	dir := flag.String("dir", "", "folder of the streams")
	port := flag.Int("port", 0, "port on 127.0.0.1")
	flag.Parse()
	if err := run(*dir, *port); err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
}

func run(dir string, port int) error {
	s, err := server.NewServer(&server.Options{
		ServerName: "natsd", Host: "127.0.0.1", Port: port,
		JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("the nats server did not become ready on port %d", port)
	}
	if _, err := fmt.Fprintln(os.Stdout, "ready"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return err
}
