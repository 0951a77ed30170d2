package compat_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// What clients send who write every member that they know, after a turn that another vendor answered.
const verbose = `{"model":"MODEL","stream":STREAM,"n":1,"temperature":0.7,"top_p":1,"frequency_penalty":0,"presence_penalty":0,"logit_bias":{},
"logprobs":false,"top_logprobs":null,"max_completion_tokens":500,"user":"u1","store":false,"metadata":{},"stream_options":null,"stop":null,
"tools":[{"type":"function","function":{"name":"look","description":"Looks.","strict":false,"parameters":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"q":{"type":"string"}}}}}],"tool_choice":"auto","parallel_tool_calls":true,
"messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":"look"},
{"role":"assistant","content":null,"refusal":null,"annotations":[],"audio":null,"function_call":null,"reasoning_content":null,"tool_calls":[{"id":"toolu_01AbCdEf","type":"function","function":{"name":"look","arguments":"{\"q\":\"x\"}"}}]},
{"role":"tool","name":"look","tool_call_id":"toolu_01AbCdEf","content":"found"},{"role":"user","content":"script:text=fine"}]}`

// TestWhatStrictVendorsRefuseIsNotSent: the scripted vendors refuse what the real ones refuse, and take what
// comes of an ordinary call, passed or converted.
func TestWhatStrictVendorsRefuseIsNotSent(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	for _, v := range compat.Vendors() {
		for _, stream := range []bool{false, true} {
			for _, raw := range []bool{false, true} {
				s := scripts[v.Facts.Slug]
				c := call(v, stream, raw)
				c.BaseURL, c.Model = server.URL+s.base, s.model
				body := strings.NewReplacer("STREAM", map[bool]string{false: "false", true: "true"}[stream], "MODEL", "x").Replace(verbose)
				if !stream {
					body = strings.Replace(body, `"stream_options":null,`, "", 1)
				}
				if v.Facts.Slug == "perplexity" { // which calls no tools
					body = body[:strings.Index(body, `"tools"`)] + `"messages":[{"role":"user","content":"script:text=fine"}]}`
				}
				if !json.Valid([]byte(body)) {
					t.Fatal(body)
				}
				c.Request.Raw = []byte(body)
				c.Request.Decode = func() (*completion.Prompt, error) { return ordinary(v.Facts.Slug), nil }
				answer, err := compat.New(&http.Transport{}, v).Start(t.Context(), c)
				if err != nil {
					f, _ := fault.Of(err)
					t.Errorf("%s, stream %v, raw %v: %v %v", v.Facts.Slug, stream, raw, err, f)
					continue
				}
				got, err := providertest.Collect(answer)
				_ = answer.Close()
				if err != nil || got.Finish != completion.Stop || !raw && got.Delta.Text != "fine" {
					t.Errorf("%s, stream %v, raw %v: %+v, %v", v.Facts.Slug, stream, raw, got, err)
				}
			}
		}
	}
}

// ordinary is the same as a prompt, of a dialect whose thinking another vendor has signed.
func ordinary(slug string) *completion.Prompt {
	p := &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{{Text: "Be brief."}}},
			{Role: completion.User, Parts: []completion.Part{{Text: "look"}}},
			{
				Role: completion.Assistant, Parts: []completion.Part{{Reasoning: &completion.Reasoning{Encrypted: "e", Format: completion.OpenAIState}}},
				ToolCalls: []completion.ToolCall{{ID: "toolu_01AbCdEf", Name: "look", Arguments: `{"q":"x"}`, Signature: "s", Format: completion.GoogleState}},
			},
			{Role: completion.ToolRole, ToolCallID: "toolu_01AbCdEf", Parts: []completion.Part{{Text: "found"}}},
			{Role: completion.User, Parts: []completion.Part{{Text: "script:text=fine"}}},
		},
		Tools:           []completion.Tool{{Name: "look", Parameters: `{"type":"object"}`, Strict: new(false)}},
		ToolChoice:      completion.ToolChoice{Mode: "auto"},
		MaxOutputTokens: new(int64(500)), Temperature: new(0.7), TopP: new(1.0), User: "u1", CacheKey: "k",
		ReasoningBudget: new(int64(2000)), ShowReasoning: true,
	}
	if slug == "perplexity" {
		p.Messages, p.Tools, p.ToolChoice = p.Messages[len(p.Messages)-1:], nil, completion.ToolChoice{}
	}
	return p
}
