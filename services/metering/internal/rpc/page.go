package rpc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrToken means that a page token was not made for this request.
var ErrToken = fault.New(fault.Invalid, "PAGE_TOKEN_INVALID", "the page token is not one of this request").
	Hinting("repeat the request unchanged with next_page_token of the page before, or with none for the first page")

// digest names a request without the parts that clear removes.
func digest[M proto.Message](req M, clear func(M)) string {
	c, _ := proto.Clone(req).(M) // a clone has the type of its original
	clear(c)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil { // only for text that is no UTF-8, and such a request was never decoded
		panic(fmt.Sprintf("rpc: encode %T: %v", req, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// token says where the next page of a request begins. It is opaque to clients and grants nothing: whose
// usage is read comes from who is calling.
func token(asked string, at any) string {
	place, err := json.Marshal(at)
	if err != nil {
		panic(fmt.Sprintf("rpc: encode %T: %v", at, err)) // structs of texts and numbers cannot fail
	}
	return base64.RawURLEncoding.EncodeToString([]byte(asked + string(place)))
}

func readToken(text, asked string, at any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return ErrToken
	}
	place, ok := strings.CutPrefix(string(raw), asked)
	if !ok || json.Unmarshal([]byte(place), at) != nil || strings.Contains(place, `\u0000`) {
		return ErrToken
	}
	return nil
}
