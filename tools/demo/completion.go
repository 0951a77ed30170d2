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
	"strings"
	"time"
)

const question = "In two sentences: what does a key bearer do?"

// complete asks as any OpenAI client would: plain HTTP, an API key, server-sent events.
func (s *Story) complete(ctx context.Context, step *Step) error {
	body, err := json.Marshal(map[string]any{
		"model": "policy/main", "stream": true, "max_completion_tokens": 200,
		"messages": []map[string]string{{"role": "user", "content": question}},
	})
	if err != nil {
		return err
	}
	var answer *http.Response
	begun := time.Now()
	err = until(ctx, func(context.Context) (bool, error) {
		begun = time.Now()
		answer, err = s.post(ctx, body) //nolint:bodyclose // closed below, or before the next try
		if err != nil {
			return false, err
		}
		if answer.StatusCode != http.StatusUnauthorized {
			return true, nil
		}
		// The router hears of a new API key a moment after it is made.
		return false, answer.Body.Close()
	})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(text))
	}
	s.requestID = answer.Header.Get("X-Request-Id")
	first, pieces, err := stream(answer.Body, step.Writer())
	s.answered = time.Now()
	if err != nil {
		return err
	}
	step.Note("%d pieces, the first after %s", pieces, duration(first.Sub(begun)))
	return nil
}

func (s *Story) post(ctx context.Context, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.BaseURL+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.apiKey.Reveal())
	request.Header.Set("Content-Type", "application/json")
	return s.http.Do(request)
}

// stream copies the text of an OpenAI stream to out, and says when the first piece came and how many.
func stream(in io.Reader, out io.Writer) (first time.Time, pieces int, err error) {
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
		}
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
