// Package cookie keeps session tokens in browsers: one cookie for each organization, so that a person
// may be signed in to several at once.
//
// The prefix __Host- makes browsers take the cookie from this origin alone, over TLS or from this
// machine, so that no neighbouring host can plant one. Scripts cannot read it, and pages of other sites
// do not send it along with what they post.
package cookie

import (
	"net/http"
	"time"

	"github.com/claviger/claviger/pkg/secret"
)

const prefix = "__Host-sid."

// Header and SetHeader are the headers that cookies travel in.
const (
	Header    = "Cookie"
	SetHeader = "Set-Cookie"
)

// Set returns the Set-Cookie line that keeps the session token of an organization for a while.
func Set(slug string, token secret.Text, lifetime time.Duration) string {
	return line(slug, token.Reveal(), int(lifetime/time.Second))
}

// Clear returns the Set-Cookie line that removes the session token of an organization.
func Clear(slug string) string { return line(slug, "", -1) }

func line(slug, value string, maxAge int) string {
	c := http.Cookie{
		Name: prefix + slug, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	return c.String()
}

// Read returns the session token of an organization from Cookie lines. If there are two, which no
// browser sends, it takes none: one of them was planted.
func Read(lines []string, slug string) (token secret.Text, ok bool) {
	r := http.Request{Header: http.Header{Header: lines}}
	named := r.CookiesNamed(prefix + slug)
	if len(named) != 1 || named[0].Value == "" {
		return secret.Text{}, false
	}
	return secret.New(named[0].Value), true
}
