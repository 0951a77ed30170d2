// Command metering runs the usage service.
package main

import (
	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/services/metering"
)

func main() { config.Main("metering", metering.Defaults(), metering.Run) }
