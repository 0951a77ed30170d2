package gemini_test

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const model = "gemini-3.8-flash"

// events are a stream of these objects.
func events(objects ...string) string {
	return "data: " + strings.Join(objects, "\r\n\r\ndata: ") + "\r\n\r\n"
}

func candidate(inner string) string {
	return `{"candidates":[{"index":0,` + inner + `}],"modelVersion":"gemini-3.8-flash","responseId":"r1"}`
}

func parts(inner string) string {
	return candidate(`"content":{"role":"model","parts":[` + inner + `]}`)
}

const (
	usageFirst = `"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7}`
	usageLast  = `"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":20,"totalTokenCount":32}`
)

var finish = candidate(`"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"`)

func with(object, member string) string { return strings.TrimSuffix(object, "}") + "," + member + "}" }

// read reads an answer in reads of so many bytes at most.
func read(t testing.TB, body string, stream bool, next func() int) (providertest.Answer, []completion.Delta, error) {
	t.Helper()
	answer, err := start(t, &replay{answer: body, next: next}, studio, model, completion.Chat, stream, hello())
	if err != nil {
		return providertest.Answer{}, nil, err
	}
	defer answer.Close() //nolint:errcheck // a test
	r := &recorder{Answer: answer}
	got, err := providertest.Collect(r)
	return got, r.deltas, err
}

type recorder struct {
	completion.Answer
	deltas []completion.Delta
}

func (r *recorder) Next() (completion.Chunk, error) {
	chunk, err := r.Answer.Next()
	if err == nil && !chunk.Delta.Empty() {
		r.deltas = append(r.deltas, chunk.Delta)
	}
	return chunk, err
}

// failed is the failure of an answer.
func failed(t testing.TB, err error) *completion.ProviderError {
	t.Helper()
	var failure *completion.ProviderError
	if !errors.As(err, &failure) {
		t.Fatalf("error %v, want a ProviderError", err)
	}
	return failure
}

func TestStreamsAreRead(t *testing.T) {
	t.Parallel()
	stream := events(
		with(parts(`{"text":"hm ","thought":true},{"text":"hm","thought":true}`), usageFirst),
		parts(`{"text":"Hel"}`), parts(`{"text":"lo"},{"text":"!"}`),
		parts(`{"functionCall":{"name":"f","args":{"x": 1}},"thoughtSignature":"c2ln"}`),
		parts(`{"functionCall":{"id":"fc_2","name":"g"}},{"functionCall":{"name":"f","args":{"x":2}}}`),
		parts(`{"text":"","thoughtSignature":"dGV4dA=="}`),
		with(finish, usageLast),
	)
	for size := 1; size < 200; size += 7 {
		got, deltas, err := read(t, stream, true, func() int { return size })
		if err != nil {
			t.Fatal(err)
		}
		if got.Delta.Text != "Hello!" || got.Delta.Reasoning != "hm hm" || got.Finish != completion.ToolCalls || got.Pieces != 5 {
			t.Fatalf("reads of %d: %+v", size, got)
		}
		if got.Head.Model != model || got.Head.RequestID != "r1" || got.Head.Status != 200 {
			t.Errorf("head %+v", got.Head)
		}
		want := usage.Tokens{InputTotal: 7, InputUncached: 7, OutputTotal: 25, Reasoning: 20}
		if got.Usage == nil || got.Usage.Tokens != want || !got.Usage.Final {
			t.Errorf("usage %+v", got.Usage)
		}
		calls := []completion.ToolCallDelta{deltas[3].ToolCalls[0], deltas[4].ToolCalls[0], deltas[4].ToolCalls[1]}
		id := strings.TrimSuffix(calls[0].ID, "0")
		if diff := cmp.Diff([]completion.ToolCallDelta{
			{ID: id + "0", Name: "f", Arguments: `{"x": 1}`, Signature: "c2ln", Format: completion.GoogleState},
			{Index: 1, ID: "fc_2", Name: "g", Arguments: `{}`},
			{Index: 2, ID: id + "2", Name: "f", Arguments: `{"x":2}`},
		}, calls); diff != "" || !strings.HasPrefix(id, "call_") {
			t.Errorf("tool calls (-want +got):\n%s", diff)
		}
		state := deltas[5].State
		if state == nil || state.Signature != "dGV4dA==" || state.Format != completion.GoogleState {
			t.Errorf("state %+v", state)
		}
	}
}

func TestWholeAnswersAreRead(t *testing.T) {
	t.Parallel()
	body := with(candidate(`"content":{"role":"model","parts":[
		{"text":"hm","thought":true,"thoughtSignature":"YQ=="},
		{"text":"Hello","thoughtSignature":"Yg=="},
		{"functionCall":{"name":"f","args":{
			"x": [1, 2]
		}},"thoughtSignature":"Yw=="}]},"finishReason":"STOP",
		"logprobsResult":{"chosenCandidates":[{"token":"Hello","tokenId":7,"logProbability":-0.5}],
			"topCandidates":[{"candidates":[{"token":"Hello","logProbability":-0.5},{"token":"Hi","logProbability":-1}]}]},
		"citationMetadata":{"citationSources":[{"startIndex":1,"endIndex":4,"uri":"https://example.com/","title":"Example"}]}`), usageLast)
	got, deltas, err := read(t, body, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Finish != completion.ToolCalls || got.Usage == nil || !got.Usage.Final {
		t.Errorf("%+v", got)
	}
	d := deltas[0]
	d.ToolCalls[0].ID = ""
	if diff := cmp.Diff(completion.Delta{
		Text: "Hello", Reasoning: "hm",
		Thoughts: []completion.Reasoning{
			{Text: "hm", Signature: "YQ==", Format: completion.GoogleState}, {Signature: "Yg==", Format: completion.GoogleState},
		},
		ToolCalls: []completion.ToolCallDelta{{Name: "f", Arguments: `{"x":[1,2]}`, Signature: "Yw==", Format: completion.GoogleState}},
		Logprobs: []completion.Logprob{{Token: "Hello", Logprob: -0.5, Top: []completion.Logprob{
			{Token: "Hello", Logprob: -0.5}, {Token: "Hi", Logprob: -1},
		}}},
		Citations: []completion.Citation{{URL: "https://example.com/", Title: "Example", Start: 1, End: 4}},
	}, d); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEndsAreToldApart(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]completion.FinishReason{
		"STOP": completion.Stop, "MAX_TOKENS": completion.Length, "CONTINUATION": completion.Length, "SAFETY": completion.ContentFilter,
		"RECITATION": completion.ContentFilter, "SPII": completion.ContentFilter, "IMAGE_SAFETY": completion.ContentFilter,
		"LANGUAGE": completion.Stop, "OTHER": completion.Stop, "NO_IMAGE": completion.Stop, "A_NEW_ONE": completion.Stop,
		"MALFORMED_FUNCTION_CALL": "", "UNEXPECTED_TOOL_CALL": "", "TOO_MANY_TOOL_CALLS": "", "FINISH_REASON_UNSPECIFIED": "",
	} {
		end := with(candidate(`"finishReason":"`+reason+`","finishMessage":"because"`), usageLast) // without content
		for _, stream := range []bool{false, true} {
			body := end
			if stream {
				body = events(parts(`{"text":"a"}`), end)
			}
			got, _, err := read(t, body, stream, nil)
			if want != "" {
				if err != nil || got.Finish != want {
					t.Errorf("%s, stream %v: %q, %v", reason, stream, got.Finish, err)
				}
				continue
			}
			failure := failed(t, err)
			if failure.Class != completion.ServerError || !failure.Sent || failure.Unbilled {
				t.Errorf("%s, stream %v: %+v", reason, stream, failure)
			}
			if reason != "FINISH_REASON_UNSPECIFIED" && (got.Usage == nil || got.Usage.Tokens.OutputTotal != 25) {
				t.Errorf("%s: what it took is lost: %+v", reason, got.Usage)
			}
			if reason == "MALFORMED_FUNCTION_CALL" && !strings.Contains(failure.Message, "because") {
				t.Errorf("%s: message %q", reason, failure.Message)
			}
		}
	}
}

func TestBlockedPromptsAreRefusals(t *testing.T) {
	t.Parallel()
	for _, feedback := range []string{
		`{"blockReason":"SAFETY"}`, `{"blockReason":"MODEL_ARMOR","blockReasonMessage":"not this"}`, `{"safetyRatings":[],"blockReason":"OTHER"}`,
	} {
		body := `{"promptFeedback":` + feedback + `,` + usageFirst + `}`
		for _, stream := range []bool{false, true} {
			sent := body
			if stream {
				sent = events(body)
			}
			got, _, err := read(t, sent, stream, nil)
			if err != nil || got.Finish != completion.ContentFilter || got.Usage == nil || got.Usage.Tokens.OutputTotal != 0 {
				t.Errorf("%s, stream %v: %+v, %v", feedback, stream, got, err)
			}
			if strings.Contains(feedback, "not this") != (got.Delta.Refusal == "not this") {
				t.Errorf("%s, stream %v: refusal %q", feedback, stream, got.Delta.Refusal)
			}
		}
	}
}

func TestUsageIsReadInAllClasses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*usage.Tokens{
		`{"promptTokenCount":100,"cachedContentTokenCount":40,"toolUsePromptTokenCount":10,"candidatesTokenCount":30,"thoughtsTokenCount":5,"totalTokenCount":145,
		  "promptTokensDetails":[{"modality":"TEXT","tokenCount":60},{"modality":"AUDIO","tokenCount":25},{"modality":"IMAGE","tokenCount":15}],
		  "toolUsePromptTokensDetails":[{"modality":"IMAGE","tokenCount":3}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":20}],
		  "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":12},{"modality":"AUDIO","tokenCount":2}],"trafficType":"ON_DEMAND"}`: {
			InputTotal: 110, CacheRead: 40, InputUncached: 70, OutputTotal: 35, Reasoning: 5, AudioIn: 25, ImageIn: 18, AudioOut: 2, ImageOut: 12,
		},
		`{"promptTokenCount":9}`:                                             {InputTotal: 9, InputUncached: 9},
		`{"promptTokenCount":9,"totalTokenCount":21}`:                        {InputTotal: 9, InputUncached: 9, OutputTotal: 12},
		`{"promptTokenCount":9,"thoughtsTokenCount":3,"totalTokenCount":12}`: {InputTotal: 9, InputUncached: 9, OutputTotal: 3, Reasoning: 3},
		`{"promptTokenCount":9,"cachedContentTokenCount":10}`:                {InputTotal: 9, CacheRead: 9},
		`{"promptTokenCount":-1}`:                                            nil, `{"promptTokenCount":"9"}`: nil, `{"promptTokenCount":9,"thoughtsTokenCount":1e30}`: nil,
		`{"totalTokenCount":9}`: nil, `{}`: nil, `[]`: nil, `null`: nil,
	} {
		got, _, err := read(t, with(finish, `"usageMetadata":`+text), false, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var tokens *usage.Tokens
		if got.Usage != nil {
			tokens = &got.Usage.Tokens
		}
		if diff := cmp.Diff(want, tokens); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestRunningTotalsReplaceEachOther(t *testing.T) {
	t.Parallel()
	stream := events(with(parts(`{"text":"a"}`), usageFirst), with(finish, usageLast), `{`+usageLast+`}`)
	got, _, err := read(t, stream, true, nil)
	if err != nil || got.Usage.Tokens.InputTotal != 7 || got.Usage.Tokens.OutputTotal != 25 || !got.Usage.Final {
		t.Errorf("%+v, %v", got.Usage, err)
	}
	got, _, err = read(t, events(with(parts(`{"text":"a"}`), usageFirst)), true, nil)
	if err == nil || got.Usage == nil || got.Usage.Final {
		t.Errorf("a total in a stream that broke off is final: %+v, %v", got.Usage, err)
	}
}

const (
	unavailable = `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`
	pretty      = "{\r\n  \"error\": {\r\n    \"code\": 429,\n    \"message\": \"slow down\",\n    \"status\": \"RESOURCE_EXHAUSTED\"\n  }\n}\n"
)

func TestErrorsWithinStreamsAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		want   completion.Class
		pieces int
	}{
		"an event":                 {events(parts(`{"text":"a"}`), unavailable), completion.Overloaded, 1},
		"at once":                  {events(unavailable), completion.Overloaded, 0},
		"an array":                 {events(parts(`{"text":"a"}`), "["+unavailable+"]"), completion.Overloaded, 1},
		"bare":                     {events(parts(`{"text":"a"}`)) + pretty, completion.RateLimited, 1},
		"bare at once":             {pretty, completion.RateLimited, 0},
		"bare array":               {events(parts(`{"text":"a"}`)) + "[" + pretty + "]", completion.RateLimited, 1},
		"bare in place of a blank": {strings.TrimSuffix(events(parts(`{"text":"a"}`)), "\r\n") + pretty, completion.RateLimited, 1},
		"bare and cut":             {events(parts(`{"text":"a"}`)) + pretty[:30], completion.ServerError, 1},
		"bare nonsense":            {events(parts(`{"text":"a"}`)) + "{}", completion.ServerError, 1},
	} {
		for size := 1; size < 40; size++ {
			got, _, err := read(t, c.stream, true, func() int { return size })
			if failure := failed(t, err); failure.Class != c.want || !failure.Sent || failure.Unbilled || got.Pieces != c.pieces {
				t.Fatalf("%s, reads of %d: %d pieces, %+v", name, size, got.Pieces, failure)
			}
		}
	}
}

// TestErrorStatusesAreClassified holds what the scripted provider does not say.
func TestErrorStatusesAreClassified(t *testing.T) {
	t.Parallel()
	body := func(code int, status, message, details string) string {
		return `{"error":{"code":` + strconv.Itoa(code) + `,"message":"` + message + `","status":"` + status + `","details":[` + details + `]}}`
	}
	info := func(reason string) string {
		return `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"` + reason + `","domain":"googleapis.com"}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   completion.Class
	}{
		{401, body(401, "UNAUTHENTICATED", "Expected OAuth 2 access token", info("ACCESS_TOKEN_TYPE_UNSUPPORTED")), completion.AuthInvalid},
		{400, body(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", ""), completion.AuthInvalid},
		{403, body(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.", ""), completion.AuthInvalid},
		{403, body(403, "PERMISSION_DENIED", "suspended", info("CONSUMER_SUSPENDED")), completion.AuthInvalid},
		{403, body(403, "PERMISSION_DENIED", "not used before or it is disabled", info("SERVICE_DISABLED")), completion.AuthLimited},
		{403, body(403, "PERMISSION_DENIED", "billing", info("BILLING_DISABLED")), completion.QuotaExhausted},
		{429, body(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: x, limit: 0, model: gemini-4-argon", ""), completion.AuthLimited},
		{429, body(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", ""), completion.QuotaExhausted},
		{429, body(429, "RESOURCE_EXHAUSTED", "Resource exhausted, please try again later.", ""), completion.RateLimited},
		{400, body(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ""), completion.AuthLimited},
		{400, body(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.", ""), completion.TooLarge},
		{400, body(400, "INVALID_ARGUMENT", "Thinking level is not supported for this model.", ""), completion.Unsupported},
		{499, body(499, "CANCELLED", "The operation was cancelled.", ""), completion.ServerError},
		{501, body(501, "UNIMPLEMENTED", "Operation is not implemented", ""), completion.Unsupported},
		{404, "[" + body(404, "NOT_FOUND", "Publisher Model was not found", "") + "]", completion.ModelNotFound},
		{500, body(500, "UNKNOWN", "x", ""), completion.ServerError},
		{503, "", completion.Overloaded},
		{504, "<html>", completion.TimedOut},
		{418, "{}", completion.InvalidRequest},
		{529, "null", completion.Overloaded},
	} {
		_, err := start(t, &replay{status: c.status, answer: c.body}, studio, model, completion.Chat, true, hello())
		failure := failed(t, err)
		if failure.Class != c.want || failure.Status != c.status || !failure.Unbilled || !failure.Sent || failure.Message == "" {
			t.Errorf("%d %s: %+v, want class %s", c.status, c.body, failure, c.want)
		}
	}
	wait := body(429, "RESOURCE_EXHAUSTED", "x", `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"20.5s"}`)
	_, err := start(t, &replay{status: 429, answer: wait}, studio, model, completion.Chat, false, hello())
	if got := failed(t, err).RetryAfter; got != 20500*time.Millisecond {
		t.Errorf("retry after %s", got)
	}
}

func TestPicturesVectorsAndCountsAreRead(t *testing.T) {
	t.Parallel()
	result := func(r *replay, name string, op completion.Operation, p *completion.Prompt) (completion.Chunk, error) {
		answer, err := start(t, r, studio, name, op, false, p)
		if err != nil {
			return completion.Chunk{}, err
		}
		return answer.Next()
	}
	draw := &completion.Prompt{Image: &completion.ImageInput{Text: "a cat"}}
	chunk, err := result(&replay{answer: with(candidate(`"content":{"parts":[{"text":"Here."},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},"finishReason":"STOP"`), usageLast)}, "gemini-3.1-flash-image", completion.Images, draw)
	if err != nil || len(chunk.Result.Pictures) != 1 || string(chunk.Result.Pictures[0].Data) != png || chunk.Result.Pictures[0].MediaType != "image/png" || chunk.Usage == nil {
		t.Errorf("pictures %+v, %v", chunk, err)
	}
	for reason, want := range map[string]completion.Class{"IMAGE_SAFETY": completion.ContentRefused, "STOP": completion.ServerError} {
		_, err := result(&replay{answer: candidate(`"content":{"parts":[{"text":"No."}]},"finishReason":"` + reason + `"`)}, "gemini-3.1-flash-image", completion.Images, draw)
		if failure := failed(t, err); failure.Class != want || !strings.Contains(failure.Message, "No.") {
			t.Errorf("%s: %+v", reason, failure)
		}
	}
	count := func(body string) (completion.Chunk, error) {
		return result(&replay{answer: body}, model, completion.CountTokens, hello())
	}
	if chunk, err := count(`{"totalTokens":31}`); err != nil || chunk.Result.Count != 31 || chunk.Usage.Tokens != (usage.Tokens{}) {
		t.Errorf("count %+v, %v", chunk, err)
	}
	for _, body := range []string{`{}`, `{"totalTokens":-1}`, ``, unavailable} {
		if _, err := count(body); err == nil {
			t.Errorf("%q is a count", body)
		}
	}
	embed := &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"a", "b"}}}
	for _, body := range []string{`{}`, `{"embeddings":[{"values":[1]}]}`, `{"embeddings":[{"values":["x"]},{"values":[1]}]}`, `{"embeddings":[{},{}]}`, unavailable} {
		if _, err := result(&replay{answer: body}, "gemini-embedding-001", completion.Embeddings, embed); err == nil {
			t.Errorf("%q are two vectors", body)
		}
	}
}

// perEvent is how many allocations an event takes.
func perEvent(t *testing.T, event string) float64 {
	t.Helper()
	const n = 200
	event = events(event)
	r := &replay{answer: strings.Repeat(event, n+10), next: func() int { return len(event) }}
	answer, err := start(t, r, studio, model, completion.Chat, true, hello())
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		next()
	}
	return testing.AllocsPerRun(n-10, next)
}

func TestConvertingAllocatesLittle(t *testing.T) {
	for name, event := range map[string]string{
		"text":      with(parts(`{"text":"Hel lo"}`), `"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"totalTokenCount":12,"promptTokensDetails":[{"modality":"TEXT","tokenCount":7}]}`),
		"tool call": parts(`{"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"c2ln"}`),
	} {
		got := perEvent(t, event)
		t.Logf("%s: %v allocations", name, got)
		if got > 8 {
			t.Errorf("%s: %v allocations per event, want 8 at most", name, got)
		}
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{
		events(with(parts(`{"text":"a"}`), usageFirst), with(finish, usageLast)),
		events(parts(`{"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"c2ln"}`), finish),
		events(parts(`{"text":"hm","thought":true}`), unavailable), events(parts(`{"text":"a"}`)) + pretty, "[" + pretty + "]",
		events(`{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"x"}}`), "data: {}\n\ndata: [1]\n\n", `data: {"candidates":[{"content":null}]}`,
	} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		at := func(sizes uint64) (providertest.Answer, error) {
			random := rand.New(rand.NewPCG(seed, sizes))
			got, _, err := read(t, stream, true, func() int { return 1 + random.IntN(50) })
			got.Chunks = 0
			return got, err
		}
		a, errA := at(1)
		b, errB := at(2)
		if diff := cmp.Diff(a, b); diff != "" || (errA == nil) != (errB == nil) {
			t.Fatalf("reads change the answer: %v against %v\n%s", errA, errB, diff)
		}
		if errA == nil && a.Finish == "" {
			t.Fatalf("%q is complete without a reason to finish", stream)
		}
	})
}

func FuzzWhole(f *testing.F) {
	for _, s := range []string{wholeAnswer, with(finish, usageLast), unavailable, `{"promptFeedback":{"blockReason":"OTHER"}}`, `{"embeddings":[{"values":[1]}]}`, `{"totalTokens":3}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for op, p := range map[completion.Operation]*completion.Prompt{
			completion.Chat: hello(), completion.CountTokens: hello(),
			completion.Embeddings: {Embedding: &completion.EmbeddingInput{Texts: []string{"a"}}},
			completion.Images:     {Image: &completion.ImageInput{Text: "a"}},
		} {
			answer, err := start(t, &replay{answer: body}, studio, "gemini-3.1-flash-image", op, false, p)
			if err == nil {
				_, err = answer.Next()
			}
			if err != nil && failed(t, err).Message == "" {
				t.Fatalf("%s: a failure without a message: %v", op, err)
			}
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add(429, `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"PerDay"}]},{"retryDelay":"3s"}]}}`)
	f.Add(400, `[{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}]`)
	f.Add(502, "<html>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 300 || status > 599 {
			return
		}
		_, err := start(t, &replay{status: status, answer: body + key}, studio, model, completion.Chat, true, hello())
		failure := failed(t, err)
		if failure.Class == "" || failure.Message == "" || strings.Contains(failure.Error()+failure.Code+failure.Type, key) || failure.RetryAfter < 0 {
			t.Fatalf("%+v", failure)
		}
	})
}

func TestSignaturesOfTheScriptedProviderComeBack(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := older()
	p.Messages[3].ToolCalls[0].Signature = "Zm9yZ2Vk"
	b, err := sent(t, studio, model, completion.Chat, p)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := post(t, s.GeminiURL()+"/models/"+model+":generateContent", b); status != 400 || !strings.Contains(answer, "signature") {
		t.Errorf("a forged signature does not get there: %d %s", status, answer)
	}
}
