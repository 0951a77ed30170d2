package compat

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// withoutExtras refuses what of a request for pictures only OpenAI's models know.
func withoutExtras(who string, in *completion.ImageInput) error {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"quality", in.Quality != "" && in.Quality != "auto"},
		{"style", in.Style != ""},
		{"background", in.Background != "" && in.Background != "auto"},
		{"output_format", in.Format != ""},
		{"seed", in.Seed != nil},
	} {
		if f.given {
			return provider.Uncarried(who, f.name, "it has no counterpart there")
		}
	}
	return nil
}
