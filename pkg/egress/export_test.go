package egress

// OpenPort makes port the one that is open to public addresses, in place of 443, which a test may
// not be able to listen on.
func (g *Guard) OpenPort(port uint16) { g.port = port }
