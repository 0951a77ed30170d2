// Package dialect is what the dialects below it share.
package dialect

// RoutingField is the one field of a body that is ours and not the dialect's: an object with "tags"
// and "session". It never reaches a provider.
const RoutingField = "claviger"
