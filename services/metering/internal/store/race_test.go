//go:build race

package store_test

// The race detector makes SQLite in Go some thirty times slower and finds nothing in plans.
const copies, some = 4, 200
