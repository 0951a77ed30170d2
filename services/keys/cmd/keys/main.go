// Command keys runs the control plane.
package main

import (
	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/services/keys"
)

func main() { config.Main("keys", keys.Defaults(), keys.Run) }
