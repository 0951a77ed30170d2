// Package genai holds tests in which Google's own SDK, and Anthropic's for Claude on Vertex, read the scripted
// provider directly, so that our adapters are not tested against our own idea of the wire.
package genai
