package transit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hashicorp/vault/api"
)

// A batch is cut so that one call stays well under Vault's request limit of 32 MiB and the 2 s
// deadline: 500 API keys open in some 7 ms.
const (
	batchItems = 250
	batchBytes = 4 << 20
)

type batchInput struct {
	Ciphertext string `json:"ciphertext"`
	Context    string `json:"context"`
}

type batchAnswer struct {
	Data struct {
		Results []struct {
			Plaintext string `json:"plaintext"`
			Error     string `json:"error"`
		} `json:"batch_results"`
	} `json:"data"`
}

// OpenBatch decrypts in calls of up to 250 items. One bad item fails alone.
func (o *vaultOpener) OpenBatch(ctx context.Context, items []Item) []Result {
	results := make([]Result, len(items))
	var batch []batchInput
	var places []int // of the batch's items in results
	size := 0
	flush := func() {
		if len(batch) > 0 {
			o.openBatch(ctx, batch, places, results)
		}
		batch, places, size = nil, nil, 0
	}
	for i, item := range items {
		if err := item.Context.complete(); err != nil {
			results[i].Err = err
			continue
		}
		if !vaultText(item.Sealed) {
			results[i].Err = ErrForeign.Because(errOtherForm)
			continue
		}
		if len(batch) == batchItems || size+len(item.Sealed) > batchBytes {
			flush()
		}
		batch = append(batch, batchInput{Ciphertext: item.Sealed, Context: item.Context.base64()})
		places = append(places, i)
		size += len(item.Sealed)
	}
	flush()
	return results
}

func (o *vaultOpener) openBatch(ctx context.Context, batch []batchInput, places []int, results []Result) {
	body, err := json.Marshal(map[string]any{"batch_input": batch})
	var answer batchAnswer
	if err == nil {
		err = o.vault.call(ctx, opOpen, func(ctx context.Context) error {
			return o.vault.postBatch(ctx, body, &answer)
		})
	}
	if err == nil && len(answer.Data.Results) != len(batch) {
		err = ErrUnavailable.Because(errUnreadable)
	}
	for n, i := range places {
		if err != nil {
			results[i].Err = err
			continue
		}
		got := answer.Data.Results[n]
		switch {
		case got.Error == "":
			results[i].Plaintext, results[i].Err = decodePlaintext(got.Plaintext)
		case foreign(got.Error):
			results[i].Err = ErrForeign.Because(&answerError{op: opOpen, status: http.StatusBadRequest, said: known(got.Error)})
		default:
			results[i].Err = ErrUnavailable.Because(&answerError{op: opOpen, status: http.StatusBadRequest, said: known(got.Error)})
		}
	}
}

// postBatch reads the items and not the status: Vault answers 400 to a batch with a bad item, with
// the good items' plaintexts in the same body.
func (v *Vault) postBatch(ctx context.Context, body []byte, answer *batchAnswer) error {
	response, err := v.client.Logical().WriteRawWithContext(ctx, v.path(opOpen), body)
	if response != nil && response.Body != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if refusal, ok := errors.AsType[*api.ResponseError](err); ok && refusal.StatusCode == http.StatusBadRequest {
		if response.DecodeJSON(answer) == nil && len(answer.Data.Results) > 0 {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if response.DecodeJSON(answer) != nil {
		return errUnreadable
	}
	return nil
}
