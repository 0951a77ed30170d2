package password

// Fill takes all slots of h.
func Fill(h *Hasher) {
	for range concurrency {
		h.slots <- struct{}{}
	}
}
