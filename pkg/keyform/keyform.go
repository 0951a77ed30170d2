// Package keyform knows the forms in which credentials of providers are written: most are one API key,
// Azure's is a list of deployments, Bedrock's and Vertex's are JSON objects.
//
// The control plane parses a credential to check it field by field and to learn what of it is not
// secret; the router parses the opened one to use it. Both see the same code, so what was checked and
// bound is what is used. What is sealed is Normal: the one way to write it, with everything in it, and
// reading it again gives the same. No error quotes a value: it may be a secret in the wrong place.
package keyform

import (
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// ErrMalformed means that a credential is not in its provider's form; its violations name the fields,
// all of them at once. They are named as they stand in the JSON: "region", "[1].endpoint_url".
var ErrMalformed = fault.New(fault.Invalid, "SECRET_MALFORMED", "the secret is not in the provider's form")

// MaxBytes bounds a credential's text.
const MaxBytes = 64 << 10

// Kind is a form.
type Kind string

// The kinds.
const (
	Key        Kind = "api_key" // one API key and nothing else
	AzureList  Kind = "azure"   // [{"model_slug","endpoint_url","api_key","model_id"}]
	AWSObject  Kind = "aws"     // {"accessKeyId","secretAccessKey","region"}
	GoogleFile Kind = "google"  // a service account's JSON
)

// KindOf returns the form of a provider's credentials: one API key where nothing else is known.
func KindOf(provider string) Kind {
	for i := range known {
		if known[i].Slug == provider {
			return known[i].Form
		}
	}
	return Key
}

// Providers are the slugs of all providers, sorted.
func Providers() []string {
	out := make([]string, len(known))
	for i := range known {
		out[i] = known[i].Slug
	}
	return out
}

// Azure is a credential of Azure: one entry per model, each its own endpoint and key.
type Azure []AzureDeployment

// AzureDeployment is one element of
// [{"model_slug","endpoint_url","api_key","model_id"}].
type AzureDeployment struct {
	// ModelSlug is the name that callers use, such as "openai/gpt-4o".
	ModelSlug string
	// Endpoint is the normal form of endpoint_url: API says how paths go on from it.
	Endpoint string
	API      AzureAPI
	// Version is the api-version of the classic API; empty takes the default.
	Version string
	// ModelID is the deployment's name at Azure.
	ModelID string
	Key     secret.Text
}

// AzureAPI is a way to call Azure.
type AzureAPI string

// The ways. Endpoint is what the path in brackets is added to.
const (
	AzureV1         AzureAPI = "v1"         // resource root [/openai/v1/chat/completions]
	AzureClassic    AzureAPI = "classic"    // resource root [/openai/deployments/{model_id}/chat/completions?api-version=]
	AzureProject    AzureAPI = "project"    // …/openai/v1 of a project [/chat/completions]
	AzureModels     AzureAPI = "models"     // …/models [/chat/completions?api-version=]
	AzureAnthropic  AzureAPI = "anthropic"  // resource root [/anthropic/v1/messages]
	AzureServerless AzureAPI = "serverless" // host of one deployment [/v1/chat/completions], key as bearer
	AzureGateway    AzureAPI = "gateway"    // a customer's gateway: its path is kept [/chat/completions]
)

// AWS is a credential of AWS Bedrock: {"accessKeyId","secretAccessKey","region"}, with "sessionToken"
// if it is temporary, or {"apiKey","region"} for a Bedrock API key.
type AWS struct {
	AccessKeyID                   string
	SecretAccessKey, SessionToken secret.Text
	// APIKey is a Bedrock API key, sent as a bearer, in place of the other three.
	APIKey secret.Text
	Region string
}

// Google is a credential of Vertex AI: a service account's JSON, with "location" and "project" besides
// if they should not be "global" and the account's own; or {"api_key"} of express mode.
type Google struct {
	ProjectID, Location       string
	ClientEmail, PrivateKeyID string
	// PrivateKey is PEM, PKCS#8, with real line breaks.
	PrivateKey secret.Text
	// APIKey is a key of express mode, in place of the service account.
	APIKey secret.Text
}
