package cookie_test

import (
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/cookie"
)

func TestACookieSaysWhatBrowsersMayDoWithIt(t *testing.T) {
	t.Parallel()
	if got, want := cookie.Set("acme", secret.New("cls_abc"), time.Hour), "__Host-sid.acme=cls_abc; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"; got != want {
		t.Errorf("Set\n got %s\nwant %s", got, want)
	}
	if got, want := cookie.Clear("acme"), "__Host-sid.acme=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"; got != want {
		t.Errorf("Clear\n got %s\nwant %s", got, want)
	}
}

func TestOnlyTheCookieOfTheOrganizationIsRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"alone":             {[]string{"__Host-sid.acme=cls_a"}, "cls_a"},
		"among others":      {[]string{"theme=dark; __Host-sid.acme-2=cls_b; __Host-sid.acme=cls_a; x"}, "cls_a"},
		"in several lines":  {[]string{"__Host-sid.rival=cls_b", "__Host-sid.acme=cls_a"}, "cls_a"},
		"without prefix":    {[]string{"sid.acme=cls_a"}, ""},
		"in small letters":  {[]string{"__host-sid.acme=cls_a"}, ""},
		"empty":             {[]string{"__Host-sid.acme="}, ""},
		"of somebody else":  {[]string{"__Host-sid.rival=cls_b"}, ""},
		"twice":             {[]string{"__Host-sid.acme=cls_a; __Host-sid.acme=cls_b"}, ""},
		"twice, in 2 lines": {[]string{"__Host-sid.acme=cls_a", "__Host-sid.acme=cls_b"}, ""},
		"none":              {nil, ""},
	} {
		token, ok := cookie.Read(c.lines, "acme")
		if ok != (c.want != "") || ok && token.Reveal() != c.want {
			t.Errorf("%s: Read = %t, want %q", name, ok, c.want)
		}
	}
}
