// Package llmtest is a scripted LLM provider that speaks the real wire formats of OpenAI chat
// completions and Anthropic messages. Tests, the demo and the load generator use it in place of
// the real thing; nothing of the product is imported here, so that its idea of the formats is
// not ours.
//
// # Addresses
//
//	POST {base}/v1/chat/completions        OpenAI, streamed and not
//	POST {base}/v1/responses               OpenAI, streamed and not
//	POST {base}/v1/responses/input_tokens  OpenAI
//	POST {base}/v1/embeddings              OpenAI
//	POST {base}/v1/images/generations      OpenAI, streamed and not
//	POST {base}/v1/messages                Anthropic, streamed and not
//	POST {base}/v1/messages/count_tokens   Anthropic
//	POST {base}/v1beta/models/{m}:{method} Gemini, see gemini.go; Vertex AI's paths are in vertex.go
//	POST {base}/model/{id}/{op}            AWS Bedrock, and its lists; see bedrock.go
//	POST {base}/fal/{owner}/{app}          fal's queue, and its requests; see fal.go
//	POST {base}/pollo/v1/generation/…      Pollo.AI, and its tasks; see pollo.go
//	POST {base}/xai/v1/videos/generations  xAI's films, and questions for them; see grok_videos.go
//	GET  {base}/v1/models                  either; Anthropic's form when anthropic-version is sent
//	GET  /ledger                           every generation call so far, as a JSON array
//	PUT  /script?model=M&key=K&times=N     body: a script that the next calls play (see Control)
//	DELETE /script                         forgets all scripts that were put
//
// A first path element names another provider of the same form: /openai/v1/chat/completions and
// /anthropic/v1/messages are what OpenAIURL and AnthropicURL give. Any other one is an
// OpenAI-compatible vendor that stands in the ledger by that name: /acme/v1/chat/completions.
//
// /xai/v1, /groq/v1, /mistral/v1, /moonshot/v1, /perplexity, /deepinfra/v1 and /baseten/v1 play these
// vendors with what each does otherwise than OpenAI: see vendors_table.go. /azure/{resource} is Azure,
// with all its ways: see azure.go.
//
// # Scripts
//
// What a call plays is, in this order: a script put or queued for it, one in its key
// ("sk-good+script:error=rate_limit"), the header x-llmtest-script, one at the start of the last
// user message ("script:tokens=200 hello"), one in the model's name
// ("gpt-4o-mini-script:tokens=200,delay=5ms,cut=3000"), one given for the model in Go, and else a
// short text. A script is "script:" and settings with commas between them; values are
// percent-encoded where they hold commas, blanks, plus or percent signs. Script.String builds it.
//
//	tokens=N      answer of N tokens, one token per chunk
//	text=T        answer of this text, one word per chunk
//	in=N          declared input tokens in all (default: a quarter of the body's bytes)
//	out=N         declared output tokens, if they should differ from what is written
//	cached=N      of in: read from a cache        write=N, write1h=N  of in: written to a cache
//	reasoning=N   thinking tokens                 think               shows their text as well
//	audio=N       of in: audio tokens (OpenAI)
//	tool=NAME     calls this tool                 args=JSON           with these arguments
//	calls=N       calls the tool N times
//	refusal       refuses                         finish=R            another finish or stop reason
//	seconds=N     length of a film                polls=N             a media job is over after N questions
//	first=D       waits D before the first byte   early               but sends the headers at once
//	delay=D       waits D before each content chunk
//	error=E       answers an error, one of the constants Err…
//	at=N          sends the error in the stream after N content chunks (0: before any) with status 200
//	              a media job is taken then, and ends with the error
//	status=N, type=T, code=C, message=M           change the error's parts
//	retry=D       Retry-After of an error         echo                an error that prints the key
//	cut=N         cuts the connection after N bytes of the body
//	cutat=N       cuts the connection after N content chunks
//	reset         cuts with a TCP reset
//	nousage       never sends usage               nodone              ends without [DONE] or message_stop
//	nofinish      sends no finish reason either   hang                never answers
//	huge=N        the first content chunk is N bytes long
//	split=N       writes pieces of N bytes, wherever events end
//	trickle=D     waits D between those pieces
//	crlf          ends lines with CR LF           pings               comments or pings between chunks
//	bound         states of reasoning are the key's: those of another one are refused
//	objects       tool arguments as an object, where the vendor may (Mistral)
//
// # Ledger
//
// Each generation call leaves an Entry, with what the answer declared and what was really
// written to the socket. It can be appended to a file, at the start and at the end of the call,
// and so survives a kill.
package llmtest
