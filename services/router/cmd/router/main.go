// Command router runs the data plane.
package main

import (
	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/services/router"
)

func main() { config.Main("router", router.Defaults(), router.Run) }
