package cli

import (
	"context"
	"iter"
	"strings"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// names turns ids into what people call the objects. Each list is fetched once, and only if it is
// needed. What the caller may not see, or what is gone, keeps its id.
type names struct {
	api   *client
	lists map[string]map[string]string
}

func namesOf(api *client) *names { return &names{api: api, lists: map[string]map[string]string{}} }

func (n *names) of(ctx context.Context, kind, id string) string {
	if id == "" {
		return ""
	}
	list, known := n.lists[kind]
	if !known {
		switch kind {
		case "key":
			list = index(n.api.eachKey(ctx), (*keysv1.ApiKey).GetId, (*keysv1.ApiKey).GetName)
		case "credential":
			list = index(n.api.eachCredential(ctx), (*keysv1.Credential).GetId, (*keysv1.Credential).GetLabel)
		case "policy":
			list = index(n.api.eachPolicy(ctx), (*keysv1.Policy).GetId, (*keysv1.Policy).GetName)
		case "group":
			list = index(n.api.eachGroup(ctx), (*keysv1.Group).GetId, (*keysv1.Group).GetName)
		case "member":
			list = index(n.api.eachMember(ctx), (*keysv1.Member).GetId, (*keysv1.Member).GetEmail)
		}
		n.lists[kind] = list
	}
	if name := list[id]; name != "" {
		return name
	}
	return id
}

func (n *names) key(ctx context.Context, id string) string { return n.of(ctx, "key", id) }

func (n *names) credential(ctx context.Context, id string) string { return n.of(ctx, "credential", id) }

func (n *names) policy(ctx context.Context, id string) string { return n.of(ctx, "policy", id) }

func (n *names) group(ctx context.Context, id string) string { return n.of(ctx, "group", id) }

// all are what people call several objects.
func (n *names) all(ctx context.Context, kind string, ids []string) string {
	return strings.Join(texts(ids, func(id string) string { return n.of(ctx, kind, id) }), ", ")
}

func (n *names) member(ctx context.Context, id string) string { return n.of(ctx, "member", id) }

func index[T any](all iter.Seq2[T, error], id, name func(T) string) map[string]string {
	found := map[string]string{}
	for object, err := range all {
		if err != nil {
			break
		}
		found[id(object)] = name(object)
	}
	return found
}
