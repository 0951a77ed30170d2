package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Words reads a string or number that a provider wrote, and takes secrets out. Limit 0 is a message's.
func Words(v []byte, key secret.Text, limit int) string {
	text, ok := jsonscan.Text(v)
	if !ok {
		if jsonscan.KindOf(v) != jsonscan.Number {
			return ""
		}
		text = string(v)
	}
	text = Scrub(text, key)
	if limit > 0 {
		text = Bounded(text, limit)
	}
	return text
}

// StatusMessage is what is said of an error status whose body says nothing.
func StatusMessage(status int) string {
	return strings.TrimSpace("the provider answered " + strconv.Itoa(status) + " " + http.StatusText(status))
}

// Reason is what an error of a call says to people.
func Reason(err error) string {
	if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
		return failed.Message
	}
	return "the call failed"
}

// Later is the verdict of a test that reached nobody who could judge the key.
func Later(reason string) completion.Verdict {
	return completion.Verdict{Reason: reason + "; test again later"}
}

// Judge is the verdict on a key after a test failed.
func Judge(failure *completion.ProviderError) completion.Verdict {
	said := fmt.Sprintf("the provider says (%d): %s", failure.Status, failure.Message)
	switch failure.Class {
	case completion.AuthInvalid:
		return completion.Verdict{State: "rejected", Reason: said + "; replace the key"}
	case completion.AuthLimited:
		return completion.Verdict{State: "degraded", Reason: said + "; the key is genuine but may not do everything from here"}
	case completion.QuotaExhausted:
		return completion.Verdict{State: "quota_exhausted", Reason: said + "; add credit or raise the limit at the provider"}
	case completion.ModelNotFound:
		return completion.Verdict{Reason: "the address has no list of models, so the key cannot be tested there; check the endpoint"}
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.Unsupported,
		completion.RateLimited, completion.Overloaded, completion.ServerError, completion.TimedOut,
		completion.Network, completion.CredentialError:
	}
	return Later(said)
}

// Listed is the verdict on a key after the list of models came.
func Listed(res *Response) completion.Verdict {
	body, err := res.Whole()
	if err != nil {
		return Later(Reason(err))
	}
	if jsonscan.KindOf(jsonscan.Get(body, "data")) != jsonscan.ArrayKind {
		return completion.Verdict{Reason: "the address answers, but not with a list of models; check the endpoint"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
}
