package keys

import (
	"context"
	"net/http"
	"net/netip"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/serve"
)

// The errors of calls that a browser made for somebody else's page.
var (
	ErrCrossOrigin = fault.New(fault.Denied, "CROSS_ORIGIN", "a page of another origin made this call").
			Hinting("use the admin at its own address; if a proxy stands in front of it, let the proxy keep the Host header")
	ErrNoProtocolHeader = fault.New(fault.Invalid, "PROTOCOL_HEADER_MISSING", "the call lacks the header of the Connect protocol").
				Hinting(`send "Connect-Protocol-Version: 1"`)
)

// HTTP is the handler of the public listener: the public services, and the admin for everything else.
// proxies are those whose X-Forwarded-For is believed.
func (a *App) HTTP(proxies []netip.Prefix) http.Handler {
	return forwarded(proxies, a.Protect(serve.Mux(serve.DefaultMessageBytes, a.Web(), a.Public())))
}

// Web serves the pages of the admin, for every path that no service has.
func (a *App) Web() http.Handler { return a.web }

// Protect refuses what pages of other origins make a browser send, with its cookies. open are patterns,
// as ServeMux has them, of what never looks at a cookie. Programs that are no browsers do not notice.
func (a *App) Protect(next http.Handler, open ...string) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, pattern := range open {
		protection.AddInsecureBypassPattern(pattern)
	}
	words := connecthttp.NewErrorWriter()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.deps.Log.InfoContext(r.Context(), "call of another origin refused", "client", r.RemoteAddr)
		if words.IsSupported(r) {
			_ = words.Write(w, r, intercept.ToConnect(r.Context(), ErrCrossOrigin)) // the caller went away
			return
		}
		http.Error(w, ErrCrossOrigin.Message()+": "+ErrCrossOrigin.Hint(), http.StatusForbidden)
	}))
	return protection.Handler(next)
}

// preflighted refuses Connect calls without the header that makes a browser ask before it sends a call
// from another origin. The other protocols' content types make it ask, too.
func preflighted(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if ok && info.Protocol == "connect" && !info.RequestHeader().Has("Connect-Protocol-Version") {
			if _, overHTTP := info.TransportInfo.(*connecthttp.ServerInfo); overHTTP {
				return ErrNoProtocolHeader
			}
		}
		return next(ctx, spec, stream)
	}
}
