package provider

// EffortOf is the effort nearest to a budget of tokens to think in, for vendors that know efforts only.
func EffortOf(budget int64) string {
	switch {
	case budget <= 0:
		return "none"
	case budget <= 4096:
		return "low"
	case budget <= 12_288:
		return "medium"
	}
	return "high"
}
