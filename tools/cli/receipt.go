package cli

import (
	"fmt"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// receiptText says in plain words which routers serve under a change. It is empty without a receipt.
func receiptText(r *keysv1.Receipt) string {
	if r == nil {
		return ""
	}
	after := "less than 0.1 s"
	if elapsed := r.GetElapsed().AsDuration(); elapsed >= 100*time.Millisecond {
		after = fmt.Sprintf("%.1f s", elapsed.Seconds())
	}
	var parts []string
	switch missing := r.GetConnected() - r.GetConfirmed(); {
	case r.GetConnected() == 0:
		parts = append(parts, "No router is connected: each hears of it before it serves again.")
	case missing <= 0:
		parts = append(parts, fmt.Sprintf("%d of %s confirmed after %s.", r.GetConfirmed(), count(int(r.GetConnected()), "router"), after))
	default:
		text := fmt.Sprintf("%d of %s confirmed within %s", r.GetConfirmed(), count(int(r.GetConnected()), "router"), after)
		if len(r.GetMissing()) > 0 {
			text += " (not " + strings.Join(r.GetMissing(), ", ") + ")"
		}
		parts = append(parts, text+"; the change holds, and the others follow as soon as they hear of it.")
	}
	if n := int(r.GetStreamsCut()); n > 0 {
		parts = append(parts, upper(count(n, "running answer"))+" ended.")
	}
	if n := int(r.GetUnreachable()); n > 0 {
		parts = append(parts, fmt.Sprintf("%s fell silent within the last hour: where they still run, they serve as before.", count(n, "other router")))
	}
	return strings.Join(parts, " ")
}

// receipt prints which routers serve under a change.
func (t *terminal) receipt(r *keysv1.Receipt) error {
	if text := receiptText(r); text != "" && !t.structured() && !t.Quiet {
		return t.print("%s", clean(text))
	}
	return nil
}

// receiptFields is the same for scripts.
func receiptFields(r *keysv1.Receipt) []field {
	if r == nil {
		return nil
	}
	return []field{{"receipt", r}}
}

// doneWith reports the end of a command that has nothing to show but a receipt.
func (t *terminal) doneWith(id string, r *keysv1.Receipt, format string, args ...any) error {
	if t.structured() && r != nil {
		raw, err := marshal(r)
		if err != nil {
			return err
		}
		return t.emitJSON(fmt.Appendf(nil, `{"id":%q,"receipt":%s}`, id, raw))
	}
	if err := t.done(id, format, args...); err != nil {
		return err
	}
	return t.receipt(r)
}
