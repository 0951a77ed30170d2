package cluster

import (
	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/seed"
)

// Session is a person who has signed in. Its access token lives for five minutes.
type Session struct {
	// Keys and Metering are clients with the session's access token, for any service of theirs.
	Keys, Metering *connect.Client
	AccessToken    secret.Text
	Answer         *keysv1.SignInResponse
}

func signIn(c *Cluster, organization string, as seed.Login) *Session {
	c.tb.Helper()
	client := keysv1connect.NewSessionServiceClient(connect.NewClient(c.Keys.Transport()))
	answer, err := client.SignIn(c.tb.Context(), &keysv1.SignInRequest{
		Organization: organization, Email: as.Email, Password: as.Password.Reveal(),
	})
	c.must(err)
	token := secret.New(answer.GetAccessToken())
	s := &Session{Keys: connect.NewClient(c.Keys.Transport(), seed.Bearer(token)), AccessToken: token, Answer: answer}
	if c.Metering != nil {
		s.Metering = connect.NewClient(c.Metering.Transport(), seed.Bearer(token))
	}
	return s
}
