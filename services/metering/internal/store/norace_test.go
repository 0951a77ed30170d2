//go:build !race

package store_test

// copies of 4000 events make 200,000; some are enough for sums.
const copies, some = 49, 2000
