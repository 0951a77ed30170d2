package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/cookie"
)

// The errors of sessions in cookies.
var (
	ErrNoCookies = fault.New(fault.Invalid, "COOKIES_NOT_POSSIBLE", "a session can be kept in a cookie over HTTP only").
			Hinting("leave cookie unset and keep the session token yourself")
	ErrNoSession = fault.New(fault.Invalid, "SESSION_NOT_NAMED", "neither a session token nor an organization is given").
			Hinting("send session_token, or in a browser the organization whose cookie is meant")
)

// browser is what a call over HTTP comes from and goes back to: where cookies are.
type browser struct{ call *connect.CallInfo }

// browserOf returns false for calls that did not come over HTTP. It cannot tell a browser from another
// HTTP client, and need not.
func browserOf(ctx context.Context) (browser, bool) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return browser{}, false
	}
	_, ok = info.TransportInfo.(*connecthttp.ServerInfo)
	return browser{info}, ok
}

// kept is the session token that the browser has for an organization.
func (b browser) kept(slug string) (secret.Text, bool) {
	return cookie.Read(b.call.RequestHeader().Values(cookie.Header), slug)
}

func (b browser) keep(slug string, token secret.Text, lifetime time.Duration) {
	b.call.ResponseHeader().Add(cookie.SetHeader, cookie.Set(slug, token, lifetime))
}

// forget removes what the browser has for an organization, if it has anything.
func (b browser) forget(slug string) {
	if len(b.call.RequestHeader().Values(cookie.Header)) > 0 {
		b.call.ResponseHeader().Add(cookie.SetHeader, cookie.Clear(slug))
	}
}
