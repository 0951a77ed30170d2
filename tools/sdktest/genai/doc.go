// Package genai reads the scripted Gemini and Vertex forms with Google's own SDK, used directly, so that
// our adapters are not tested against our own idea of the wire. It holds tests only.
package genai
