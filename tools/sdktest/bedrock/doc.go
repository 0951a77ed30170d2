// Package bedrock reads the scripted Bedrock server with AWS's own SDK, used directly, so that our adapter
// is not tested against our own idea of the wire. It holds tests only.
package bedrock
