package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect/v2"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/tools/seed"
)

const question = "In two sentences: what does a key bearer do?"

// explain asks the router what it would try, as the application that has the API key.
func (s *Story) explain(ctx context.Context, step *Step) error {
	client := routerv1connect.NewCompletionServiceClient(connect.NewClient(s.transport(), seed.Bearer(s.apiKey)))
	var answer *routerv1.ExplainRouteResponse
	err := until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		answer, err = client.ExplainRoute(ctx, &routerv1.ExplainRouteRequest{Model: "policy/main", InputTokens: 18, MaxOutputTokens: 200})
		// The router hears of a new API key a moment after it is made.
		if connect.CodeOf(err) == connect.CodeUnauthenticated {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if len(answer.GetCandidates()) == 0 {
		return errors.New("nothing would")
	}
	var rows [][]string
	for i, c := range answer.GetCandidates() {
		whose := "own, " + c.GetCredential()
		if c.GetCredentialClass() == eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM {
			whose = "platform"
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), c.GetModel(), whose, "at most " + cost(c.GetEstimatedCostNanoUsd(), c.EstimatedCostNanoUsd != nil)})
	}
	step.Table(rows)
	for _, e := range answer.GetExclusions() {
		step.Note("not %s: %s", e.GetModel(), e.GetDescription())
	}
	return nil
}

// complete asks as any OpenAI client would: plain HTTP, an API key, server-sent events.
func (s *Story) complete(ctx context.Context, step *Step) error {
	begun := time.Now()
	first, pieces, err := s.ask(ctx, question, step.Writer)
	if err != nil {
		return err
	}
	step.Note("%d pieces, the first after %s", pieces, duration(first.Sub(begun)))
	return nil
}

// fallBack asks while the first line's provider refuses.
func (s *Story) fallBack(ctx context.Context, step *Step) error {
	s.Refuse(s.Provider.Model, s.Fallback.Model)
	var text strings.Builder
	if _, _, err := s.ask(ctx, "And when a door is stuck?", func() io.Writer { return &text }); err != nil {
		return err
	}
	p := s.served
	if len(p.Attempts) < 2 || p.Line != 2 {
		return fmt.Errorf("the answer says that line %d served after %d attempts", p.Line, len(p.Attempts))
	}
	step.Note("“%s”", strings.TrimSpace(text.String()))
	step.Note("its end says what served it:")
	var rows [][]string
	for i, a := range p.Attempts {
		outcome := "answered"
		if a.Class != "" {
			outcome = words(a.Class)
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), a.Model, a.CredentialClass, outcome})
	}
	step.Table(rows)
	known := p.Cost != nil
	if !known {
		p.Cost = new(int64)
	}
	step.Note("policy %s, version %d, line %d   %s", p.Policy, p.PolicyVersion, p.Line, cost(*p.Cost, known))
	return nil
}

// words is a class of errors as people say it.
func words(class string) string { return strings.ReplaceAll(class, "_", " ") }

// provenance is what an answer says of what served it.
type provenance struct {
	Policy        string `json:"policy"`
	PolicyVersion int64  `json:"policy_version"`
	Line          int    `json:"line"`
	Cost          *int64 `json:"cost_nano_usd"`
	Attempts      []struct {
		Model           string `json:"model"`
		CredentialClass string `json:"credential_class"`
		Class           string `json:"error_class"`
	} `json:"attempts"`
}

// ask streams the answer to a question to where out says.
func (s *Story) ask(ctx context.Context, question string, out func() io.Writer) (first time.Time, pieces int, err error) {
	body, err := json.Marshal(map[string]any{
		"model": "policy/main", "stream": true, "max_completion_tokens": 200,
		"messages": []map[string]string{{"role": "user", "content": question}},
	})
	if err != nil {
		return first, 0, err
	}
	answer, err := s.post(ctx, body)
	if err != nil {
		return first, 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return first, 0, fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(text))
	}
	s.requestID, s.served = answer.Header.Get("X-Request-Id"), provenance{}
	first, pieces, err = stream(answer.Body, out(), &s.served)
	s.answered = time.Now()
	return first, pieces, err
}

func (s *Story) post(ctx context.Context, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.BaseURL+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.apiKey.Reveal())
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Claviger-Include", "provenance")
	return s.http.Do(request)
}

// stream copies the text of an OpenAI stream to out and what it says of its provenance to served, and says when
// the first piece came and how many.
func stream(in io.Reader, out io.Writer, served *provenance) (first time.Time, pieces int, err error) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return first, pieces, fmt.Errorf("the stream ends without [DONE]: %w", err)
		}
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data:")
		if !ok {
			continue
		}
		data = strings.TrimSpace(data)
		if data == "[DONE]" {
			if pieces == 0 {
				return first, 0, errors.New("the answer is empty")
			}
			return first, pieces, nil
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
			Claviger *provenance `json:"claviger"`
		}
		chunk.Claviger = served
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return first, pieces, fmt.Errorf("decode chunk: %w", err)
		}
		if chunk.Error != nil {
			return first, pieces, errors.New(chunk.Error.Message)
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Content == "" {
				continue
			}
			if pieces++; pieces == 1 {
				first = time.Now()
			}
			if _, err := io.WriteString(out, choice.Delta.Content); err != nil {
				return first, pieces, err
			}
		}
	}
}
