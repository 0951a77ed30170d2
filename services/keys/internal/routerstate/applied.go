package routerstate

import "context"

// Applied returns the oldest configuration that any router may still serve, and whether that is known: it is not
// while no router is connected.
//
// A router that fell silent within Retention without saying goodbye counts with what it served last: cut off from
// here, it goes on serving. So a router that crashed holds this up for as long, and not for good.
func (g *Registry) Applied(ctx context.Context) (version int64, known bool, err error) {
	now := g.now()
	_, routers, err := g.store.Routers(ctx, now.Add(-Retention))
	if err != nil {
		return 0, false, err
	}
	first := true
	for _, r := range routers {
		if r.Closed {
			continue
		}
		if first || r.Applied < version {
			version, first = r.Applied, false
		}
		known = known || r.LeaseUntil.After(now)
	}
	return version, known, nil
}
