package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

// filterFlags narrow usage and requests down. Several values of one flag are alternatives; different
// flags must all hold.
type filterFlags struct {
	Model      []string `complete:"model" placeholder:"PROVIDER/MODEL" help:"Only these models."`
	Provider   []string `complete:"provider" placeholder:"SLUG" help:"Only these providers."`
	Class      string   `enum:",own,platform" default:"" placeholder:"CLASS" help:"Only own or only platform: whose key served."`
	Credential []string `sep:"none" complete:"credential" placeholder:"LABEL" help:"Only these credentials."`
	Key        []string `sep:"none" complete:"key" placeholder:"NAME" help:"Only these API keys."`
	Policy     []string `complete:"policy" placeholder:"NAME" help:"Only these policies."`
	Member     []string `complete:"member" placeholder:"EMAIL" help:"Only the API keys of these members."`
	Tag        []string `sep:"none" placeholder:"KEY=VALUE" help:"Only requests with this tag."`
}

// filters are what the flags mean, with ids in place of names.
func (f *filterFlags) filters(ctx context.Context, api *client) ([]*meteringv1.DimensionFilter, error) {
	var all []*meteringv1.DimensionFilter
	add := func(d meteringv1.Dimension, values ...string) {
		if len(values) > 0 {
			all = append(all, &meteringv1.DimensionFilter{Dimension: d, Values: values})
		}
	}
	add(meteringv1.Dimension_DIMENSION_MODEL, f.Model...)
	add(meteringv1.Dimension_DIMENSION_PROVIDER, f.Provider...)
	if f.Class != "" {
		add(meteringv1.Dimension_DIMENSION_CLASS, f.Class)
	}
	for _, named := range []struct {
		names     []string
		dimension meteringv1.Dimension
		prefix    string
		find      func(name string) (string, error)
	}{
		{f.Credential, meteringv1.Dimension_DIMENSION_CREDENTIAL, "cred_", func(name string) (string, error) {
			o, err := api.findCredential(ctx, name)
			return o.GetId(), err
		}},
		{f.Key, meteringv1.Dimension_DIMENSION_API_KEY, "key_", func(name string) (string, error) {
			o, err := api.findKey(ctx, name)
			return o.GetId(), err
		}},
		{f.Policy, meteringv1.Dimension_DIMENSION_POLICY, "pol_", func(name string) (string, error) {
			o, err := api.findPolicy(ctx, name)
			return o.GetId(), err
		}},
		{f.Member, meteringv1.Dimension_DIMENSION_MEMBER, "mem_", func(name string) (string, error) {
			o, err := api.findMember(ctx, name)
			return o.GetId(), err
		}},
	} {
		var ids []string
		for _, name := range named.names {
			id := name
			if !strings.HasPrefix(name, named.prefix) { // what was removed has usage, too, and only its id is left
				var err error
				if id, err = named.find(name); err != nil {
					return nil, err
				}
			}
			ids = append(ids, id)
		}
		add(named.dimension, ids...)
	}
	tags := map[string][]string{}
	for _, tag := range f.Tag {
		key, value, found := strings.Cut(tag, "=")
		if !found || key == "" {
			return nil, usagef("--tag must be KEY=VALUE, not %q", tag)
		}
		tags[key] = append(tags[key], value)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, &meteringv1.DimensionFilter{Dimension: meteringv1.Dimension_DIMENSION_TAG, TagKey: key, Values: tags[key]})
	}
	return all, nil
}

// rangeFlags are a range of time.
type rangeFlags struct {
	Since string `default:"24h" placeholder:"TIME" help:"From when: a distance such as 24h or 7d, a date, or a date and a time. Default: 24h."`
	Until string `default:"now" placeholder:"TIME" help:"Up to when. Default: now."`
}

func (f *rangeFlags) times(now time.Time) (since, until *timestamppb.Timestamp, err error) {
	from, err := instant(f.Since, now, false)
	if err != nil {
		return nil, nil, err
	}
	to, err := instant(f.Until, now, false)
	if err != nil {
		return nil, nil, err
	}
	if !from.Before(to) {
		return nil, nil, usagef("--since %s is not before --until %s", f.Since, f.Until)
	}
	return timestamppb.New(from), timestamppb.New(to), nil
}
