package pricing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
)

// MaxRate bounds a rate: a million dollars, per million tokens or per unit.
const MaxRate = 1_000_000_000_000_000

// rate is a rate of a tier with its name.
type rate struct {
	class string
	nano  *int64
}

// rates lists what a tier says, in an order that never changes: etags rest on it.
func (t *Tier) rates() [11]rate {
	return [...]rate{
		{"input", t.Input},
		{"output", t.Output},
		{"cache_read", t.CacheRead},
		{"cache_write_5m", t.CacheWrite5m},
		{"cache_write_30m", t.CacheWrite30m},
		{"cache_write_1h", t.CacheWrite1h},
		{"cache_write_12h", t.CacheWrite12h},
		{"audio_in", t.AudioIn},
		{"audio_out", t.AudioOut},
		{"image_in", t.ImageIn},
		{"image_out", t.ImageOut},
	}
}

// Check says what is wrong with a version that comes from elsewhere: it has no name or no model, no rate at all,
// tiers that do not go upwards, a rate below zero or above MaxRate, or a beginning before 1970.
func Check(p Price) error {
	provider, name, ok := strings.Cut(p.Model, "/")
	switch {
	case !strings.HasPrefix(p.ID, "price_"):
		return fmt.Errorf("%q is no id of a price", p.ID)
	case !ok || provider == "" || name == "":
		return fmt.Errorf("%s: %q is not \"provider/name\"", p.ID, p.Model)
	case p.ValidFrom.Unix() < 0 || p.ValidFrom.Year() > 9999:
		return fmt.Errorf("%s: it holds from before 1970 or after 9999", p.ID)
	case len(p.Tiers) == 0 && len(p.Units) == 0:
		return fmt.Errorf("%s: it has no rates", p.ID)
	}
	if len(p.Tiers) > 0 {
		if err := CheckTiers(p.Tiers); err != nil {
			return fmt.Errorf("%s: %w", p.ID, err)
		}
	}
	for i := range p.Tiers {
		for _, r := range p.Tiers[i].rates() {
			if r.nano != nil && (*r.nano < 0 || *r.nano > MaxRate) {
				return fmt.Errorf("%s: the rate for %s is %d, not within 0 and %d", p.ID, r.class, *r.nano, int64(MaxRate))
			}
		}
	}
	if err := CheckUnits(p.Units); err != nil {
		return fmt.Errorf("%s: %w", p.ID, err)
	}
	for _, u := range p.Units {
		if u.Rate != nil && *u.Rate > MaxRate {
			return fmt.Errorf("%s: the rate for %s is above %d", p.ID, u.Name, int64(MaxRate))
		}
	}
	return nil
}

// Check says what is wrong with a table that comes from elsewhere: it is empty, a version is not valid, two have one
// id, or two hold for one model from the same moment.
func (b *Table) Check() error {
	if len(b.rows) == 0 {
		return fmt.Errorf("the book is empty")
	}
	ids := make(map[string]bool, len(b.rows))
	for i, p := range b.rows {
		if err := Check(p); err != nil {
			return err
		}
		if ids[p.ID] {
			return fmt.Errorf("%s stands there twice", p.ID)
		}
		ids[p.ID] = true
		if i > 0 && b.rows[i-1].Model == p.Model && b.rows[i-1].ValidFrom.Equal(p.ValidFrom) {
			return fmt.Errorf("%s and %s hold from the same moment", b.rows[i-1].ID, p.ID)
		}
	}
	return nil
}

// Etag is a checksum over all that a table reckons with. Tables with the same etag give the same costs and name the
// same versions.
func (b *Table) Etag() string {
	d := digest{Hash: sha256.New()}
	d.number(int64(len(b.rows)))
	for i := range b.rows {
		p := &b.rows[i]
		d.text(p.ID)
		d.text(p.Model)
		d.number(p.ValidFrom.UnixMicro())
		d.number(int64(len(p.Tiers)))
		for t := range p.Tiers {
			d.number(p.Tiers[t].MinInput)
			for _, r := range p.Tiers[t].rates() {
				d.rate(r.nano)
			}
		}
		d.number(int64(len(p.Units)))
		for _, u := range p.Units {
			d.text(u.Name)
			d.rate(u.Rate)
		}
		if p.Reported {
			d.number(1)
		} else {
			d.number(0)
		}
	}
	return base64.RawURLEncoding.EncodeToString(d.Sum(nil)[:18])
}

// digest writes values so that no two rows of them look alike.
type digest struct{ hash.Hash }

func (d digest) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	_, _ = d.Write(b[:]) // never fails
}

func (d digest) text(s string) {
	d.number(int64(len(s)))
	_, _ = d.Write([]byte(s)) // never fails
}

func (d digest) rate(nano *int64) {
	if nano == nil {
		d.number(-1) // no rate is below zero
		return
	}
	d.number(*nano)
}
