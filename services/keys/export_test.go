package keys

import "context"

// SetApplied replaces what says how far connected routers are.
func (a *App) SetApplied(applied func(context.Context) (version int64, known bool, err error)) {
	a.api.Applied = applied
}
