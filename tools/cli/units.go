package cli

import (
	"strconv"
	"strings"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

// unitText is what was counted besides tokens: "2 images, 5.04 seconds".
func unitText(units []*eventsv1.UnitCount) string {
	var parts []string
	for _, u := range units {
		n := strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(float64(u.GetMilli()%1000)/1000, 'f', 3, 64)[1:], "0"), ".")
		text := number(u.GetMilli()/1000) + n + " " + u.GetName()
		if u.GetMilli() != 1000 {
			text += "s"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// reportedCost is what the provider says that an attempt costs.
func reportedCost(e *eventsv1.UsageEvent) string {
	if e.ReportedCostNanoUsd == nil {
		return "-"
	}
	return money(e.GetReportedCostNanoUsd())
}

// costSource says in words where a cost comes from.
func costSource(a *meteringv1.Attempt) string {
	switch a.GetCostSource() {
	case meteringv1.CostSource_COST_SOURCE_PRICE:
		return "price"
	case meteringv1.CostSource_COST_SOURCE_PROVIDER:
		return "provider"
	case meteringv1.CostSource_COST_SOURCE_NONE:
		return "nothing used"
	default:
		return "-"
	}
}
