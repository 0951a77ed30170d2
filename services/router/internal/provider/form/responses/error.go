package responses

import (
	"net/http"
	"slices"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// The codes with which a response fails for what it was given.
var (
	badInput = []string{
		"data_residency_mismatch", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url",
		"image_too_small", "image_parse_error", "invalid_image_mode", "unsupported_image_media_type", "empty_image_file",
		"failed_to_download_image", "image_file_not_found",
	}
	tooLarge = []string{"image_too_large", "image_file_too_large"}
	unwanted = []string{"image_content_policy_violation", "misalignment_policy_violation"}
)

// failure is an error that came after status 200: an event of its own, or what a failed response holds.
func (f *format) failure(data []byte) error {
	failure := chat.ReportedWith(data, f.key, f.id)
	switch {
	case failure.Status != http.StatusOK: // the provider gave it a status
	case slices.Contains(badInput, failure.Code), failure.Type == "invalid_request_error" && failure.Class == completion.ServerError:
		failure.Class = completion.InvalidRequest
	case slices.Contains(tooLarge, failure.Code):
		failure.Class = completion.TooLarge
	case slices.Contains(unwanted, failure.Code):
		failure.Class = completion.ContentRefused
	}
	f.vendor.Judge(failure)
	return failure
}

func (f *format) nonsense(message string) error {
	return &completion.ProviderError{
		Class: completion.ServerError, Status: http.StatusOK, RequestID: f.id, Message: message, Sent: true,
	}
}

// notStreamed is the error of a server that answers a stream with one body, which some do to say that
// something is wrong.
func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}
