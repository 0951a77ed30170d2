package provider

import (
	"bytes"
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
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.StateRefused, completion.Unsupported,
		completion.RateLimited, completion.Overloaded, completion.ServerError, completion.TimedOut,
		completion.Network, completion.CredentialError:
	}
	return Later(said)
}

const (
	// maxListed bounds how many models a key test names, and maxListedName how long a name may be: the
	// list comes from outside, and routers and keys keep it with every credential.
	maxListed     = 1000
	maxListedName = 256
)

// Listed is the verdict on a key after the list of models came: the key is good, and these are the
// models that it may use.
func Listed(res *Response) completion.Verdict {
	body, err := res.Whole()
	if err != nil {
		return Later(Reason(err))
	}
	models, ok := listedModels(body)
	if !ok {
		return completion.Verdict{Reason: "the address answers, but not with a list of models; check the endpoint"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key", Models: models}
}

// listedModels reads the names of OpenAI's list of models. Some compatible servers answer the array
// without the object around it. Of a list that is too long nothing is named: half of it would say
// that the other half may not be used.
func listedModels(body []byte) (models []string, ok bool) {
	list := bytes.TrimSpace(body)
	if jsonscan.KindOf(list) == jsonscan.ObjectKind {
		list = jsonscan.Get(list, "data")
	}
	if jsonscan.KindOf(list) != jsonscan.ArrayKind {
		return nil, false
	}
	entries := jsonscan.Array(list)
	for entries.Next() {
		if jsonscan.KindOf(entries.Value) != jsonscan.ObjectKind {
			continue
		}
		name, _ := jsonscan.Text(jsonscan.Get(entries.Value, "id"))
		if name != "" && len(name) <= maxListedName && Bounded(name, maxListedName) == name {
			models = append(models, name)
		}
		if len(models) > maxListed {
			return nil, true
		}
	}
	return models, true
}
