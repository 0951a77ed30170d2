package keyform

// AzureAPIOf is the way to call an endpoint_url that a list's Settings show.
func AzureAPIOf(endpointURL string) AzureAPI {
	e, _ := readEndpoint(endpointURL) // was read before
	return e.api
}
