// Package openai holds tests in which OpenAI's own SDK reads the scripted provider directly, so that our
// adapters are not tested against our own idea of the wire.
package openai
