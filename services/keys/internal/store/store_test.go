package store_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/services/keys/internal/store/storetest"
)

func TestStore(t *testing.T) { sqltest.Run(t, storetest.Run) }
