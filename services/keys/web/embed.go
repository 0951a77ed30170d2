// Package web is the browser admin: its pages, built from the TypeScript beside this file, and the
// handler that serves them. It knows nothing of the services: the pages call them as everybody does.
package web

import (
	"embed"
	"io/fs"
)

// The pages are built into dist, which git ignores but for an empty file, so that the package compiles
// without them. The placeholder then says how to build them.
var (
	//go:embed all:dist
	dist embed.FS
	//go:embed placeholder
	placeholder embed.FS
)

// pages returns what was built, or the placeholder.
func pages() (fs.FS, error) {
	if _, err := fs.Stat(dist, "dist/"+index); err != nil {
		return fs.Sub(placeholder, "placeholder")
	}
	return fs.Sub(dist, "dist")
}
