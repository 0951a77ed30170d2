//go:build !linux

package cluster

import "syscall"

// Elsewhere there is no such attribute: processes of a killed test stay until they are ended by hand.
func endsWithParent() *syscall.SysProcAttr { return nil }
