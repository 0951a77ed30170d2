package provider

// Facts are what a vendor's package says of itself. The table of providers in the docs is made of them,
// and of what its adapter answers when it is asked what it serves.
type Facts struct {
	// Slug is the vendor's name everywhere: in models, credentials, usage and prices.
	Slug string
	// Name is what people call it.
	Name string
	// BaseURL is its own address, without a slash at the end; empty if addresses are in the credential.
	BaseURL string
	// Forms are the wire forms that calls are sent in, for people.
	Forms []string
	// Credential is what an organization brings, for people.
	Credential string
	// KeyTest is how a credential is tried, for people.
	KeyTest string
	// Examples are names of models for which the adapter is asked what it serves and speaks, where that
	// differs by model; none is any name.
	Examples []string
}
