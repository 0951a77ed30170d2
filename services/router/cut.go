package router

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/report"
	"github.com/claviger/claviger/services/router/internal/snapshot"
)

// served tells keys of a configuration once it is served and what it cuts has ended.
func (a *App) served(s *snapshot.State, off snapshot.Off) {
	a.reporter.Applied(s.Version(), a.cut(off)...)
}

// cut ends the answers under way of what was switched off, and counts them. Each credential is one look through
// the open requests, a millisecond or two for 10,000 of them; all API keys together are another.
func (a *App) cut(off snapshot.Off) (cuts []report.Cut) {
	if off.Empty() {
		return nil
	}
	for _, id := range off.Credentials {
		n := a.completions.Cut(func(_ *completion.Caller, c *completion.Credential) bool { return c != nil && c.ID == id })
		cuts = append(cuts, report.Cut{ID: id, Streams: n})
	}
	ended := make(map[string]int, len(off.APIKeys))
	for _, id := range off.APIKeys {
		ended[id] = 0
	}
	if len(ended) > 0 {
		a.completions.Cut(func(caller *completion.Caller, c *completion.Credential) bool {
			if c != nil {
				return false // asked later, too, by requests that were being planned
			}
			_, revoked := ended[caller.APIKeyID]
			if revoked {
				ended[caller.APIKeyID]++
			}
			return revoked
		})
	}
	for id, n := range ended {
		cuts = append(cuts, report.Cut{ID: id, Streams: n})
	}
	a.d.Log.Info("answers ended of what was switched off", "credentials", off.Credentials, "api_keys", off.APIKeys, "streams", streams(cuts))
	return cuts
}

func streams(cuts []report.Cut) (n int) {
	for _, c := range cuts {
		n += c.Streams
	}
	return n
}
