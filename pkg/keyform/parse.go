package keyform

import (
	"encoding/json"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

// ParseAzure reads Azure's list.
func ParseAzure(text secret.Text) (Azure, error) {
	var in []struct {
		ModelSlug   string `json:"model_slug"`
		EndpointURL string `json:"endpoint_url"`
		APIKey      string `json:"api_key"`
		ModelID     string `json:"model_id"`
	}
	if err := json.Unmarshal([]byte(text.Reveal()), &in); err != nil {
		return nil, ErrMalformed.Because(err)
	}
	out := make(Azure, 0, len(in))
	for _, d := range in {
		out = append(out, AzureDeployment{
			ModelSlug: d.ModelSlug, Endpoint: strings.TrimRight(d.EndpointURL, "/"), API: AzureV1, ModelID: d.ModelID, Key: secret.New(d.APIKey),
		})
	}
	return out, nil
}

// ParseAWS reads a credential of Bedrock.
func ParseAWS(text secret.Text) (AWS, error) {
	var in struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken"`
		APIKey          string `json:"apiKey"`
		Region          string `json:"region"`
	}
	if err := json.Unmarshal([]byte(text.Reveal()), &in); err != nil {
		return AWS{}, ErrMalformed.Because(err)
	}
	return AWS{
		AccessKeyID: in.AccessKeyID, SecretAccessKey: secret.New(in.SecretAccessKey), SessionToken: secret.New(in.SessionToken),
		APIKey: secret.New(in.APIKey), Region: in.Region,
	}, nil
}

// ParseGoogle reads a credential of Vertex AI.
func ParseGoogle(text secret.Text) (Google, error) {
	var in struct {
		ProjectID    string `json:"project_id"`
		Project      string `json:"project"`
		Location     string `json:"location"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		APIKey       string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(text.Reveal()), &in); err != nil {
		return Google{}, ErrMalformed.Because(err)
	}
	if in.Project == "" {
		in.Project = in.ProjectID
	}
	if in.Location == "" {
		in.Location = "global"
	}
	return Google{
		ProjectID: in.Project, Location: in.Location, ClientEmail: in.ClientEmail, PrivateKeyID: in.PrivateKeyID,
		PrivateKey: secret.New(strings.ReplaceAll(in.PrivateKey, `\n`, "\n")), APIKey: secret.New(in.APIKey),
	}, nil
}
