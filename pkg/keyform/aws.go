package keyform

import (
	"regexp"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

var (
	// awsRegion is what a host name is made of: "us-east-1", "us-gov-west-1", "eusc-de-east-1".
	awsRegion = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
	// awsKeyID goes into a header.
	awsKeyID = regexp.MustCompile(`^[A-Za-z0-9_]{1,128}$`)
)

const awsHint = `write it as {"accessKeyId": "…", "secretAccessKey": "…", "region": "us-east-1"}, or as {"apiKey": "…", "region": "us-east-1"}`

func parseAWS(text secret.Text) (AWS, []fault.Violation, error) {
	var p, warnings problems
	out := AWS{}
	if raw := readDocument(text, &p); raw != nil {
		if o := readObject(raw, "", []string{"accessKeyId", "secretAccessKey", "region", "sessionToken", "apiKey"}, nil, &p); o != nil {
			out = readAWS(o, &p, &warnings)
		}
	}
	if err := p.err(awsHint); err != nil {
		return AWS{}, nil, err
	}
	return out, warnings, nil
}

func readAWS(o *object, p, warnings *problems) AWS {
	out := AWS{
		AccessKeyID: o.text("accessKeyId"), SecretAccessKey: o.secret(p, "secretAccessKey"), SessionToken: o.secret(p, "sessionToken"),
		APIKey: o.secret(p, "apiKey"), Region: o.text("region"),
	}
	if o.has("apiKey") {
		for _, field := range []string{"accessKeyId", "secretAccessKey", "sessionToken"} {
			if o.has(field) {
				p.add(field, "cannot stand beside apiKey: give one or the other")
			}
		}
	} else {
		o.required(p, "accessKeyId", "secretAccessKey")
	}
	o.required(p, "region")
	if out.AccessKeyID != "" && !awsKeyID.MatchString(out.AccessKeyID) {
		p.add("accessKeyId", "has a character that no access key id has, or more than 128")
	}
	if out.Region != "" && !awsRegion.MatchString(out.Region) {
		p.add("region", `is not a region's code such as "us-east-1"`)
	}
	if strings.HasPrefix(out.AccessKeyID, "ASIA") && out.SessionToken.Empty() {
		warnings.add("sessionToken", "is missing: AWS gives out ids that begin with ASIA together with one, and they expire within hours")
	}
	return out
}

func (a AWS) form(warnings []fault.Violation) Form {
	f := Form{Settings: Settings{Region: a.Region}, Warnings: warnings}
	mask := func(field string, value secret.Text) {
		if !value.Empty() {
			f.Settings.Secrets = append(f.Settings.Secrets, Masked{field, value.Hint()})
		}
	}
	mask("accessKeyId", secret.New(a.AccessKeyID))
	mask("secretAccessKey", a.SecretAccessKey)
	mask("sessionToken", a.SessionToken)
	mask("apiKey", a.APIKey)
	f.Hint = f.Settings.Secrets[0].Hint // the id is what AWS's console lists
	f.Normal = write(struct {
		AccessKeyID     string `json:"accessKeyId,omitempty"`
		SecretAccessKey string `json:"secretAccessKey,omitempty"`
		SessionToken    string `json:"sessionToken,omitempty"`
		APIKey          string `json:"apiKey,omitempty"`
		Region          string `json:"region"`
	}{a.AccessKeyID, a.SecretAccessKey.Reveal(), a.SessionToken.Reveal(), a.APIKey.Reveal(), a.Region})
	return f
}
