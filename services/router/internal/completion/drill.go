package completion

// Drills hears what comes of rehearsals. It never waits.
type Drills interface {
	// Met comes for each call that a drill fails; first is the first one of its request.
	Met(d *Drill, first bool)
	// Served and Unserved come once for each drill that a request has met, when the request is over: by says who
	// served it.
	Served(d *Drill, by *Target)
	Unserved(d *Drill)
}
