package identity_test

import (
	"database/sql"
	"encoding/json"
	"flag"
	"io"
	"math"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/plinthkv/plinth/identity"
)

func TestLayout(t *testing.T) {
	at := time.Date(2026, 11, 29, 1, 2, 3, 4_000_000, time.UTC)
	id := identity.UserSlug(uint64(at.UnixMilli()-1_704_067_200_000)<<22 | 4095<<10 | 1023)
	if !id.Time().Equal(at) || id.Worker() != 4095 || id.Sequence() != 1023 {
		t.Errorf("%v, worker %d, sequence %d", id.Time(), id.Worker(), id.Sequence())
	}
	if first := identity.UserSlug(0); !first.IsZero() || !first.Time().Equal(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("IDs begin at %v", first.Time())
	}
}

// Every number comes back from each of its forms.
func TestForms(t *testing.T) {
	type document struct {
		ID   identity.VaultSlug
		Text string
		Map  map[identity.VaultSlug]bool
	}
	if err := quick.Check(func(n uint64) bool {
		id := identity.VaultSlug(n)
		parsed, err := identity.Parse[identity.VaultSlug](id.String())
		var set identity.VaultSlug
		raw, _ := json.Marshal(document{id, "x", map[identity.VaultSlug]bool{id: true}})
		var read document
		return err == nil && parsed == id && set.Set(id.String()) == nil && set == id &&
			strings.HasPrefix(string(raw), `{"ID":`+id.String()+`,`) && json.Unmarshal(raw, &read) == nil && read.ID == id && read.Map[id]
	}, nil); err != nil {
		t.Error(err)
	}
	var id identity.VaultSlug
	if err := json.Unmarshal([]byte(`"18446744073709551615"`), &id); err != nil || id != math.MaxUint64 {
		t.Errorf("as text: %v, %v", id, err)
	}
}

func TestBadText(t *testing.T) {
	for _, text := range []string{"", "-1", "+1", "01", "00", "0x1", "1_0", "1.0", "1e3", " 1", "1\n", "18446744073709551616", "one", "١"} {
		if id, err := identity.Parse[identity.UserSlug](text); err == nil || id != 0 {
			t.Errorf("%q is %v, %v", text, id, err)
		}
	}
	for _, raw := range []string{`null`, `-1`, `1.5`, `1e3`, `true`, `[]`, `"x"`, `""`, `18446744073709551616`, `"\u0031 "`} {
		var id identity.UserSlug
		if err := json.Unmarshal([]byte(raw), &id); err == nil {
			t.Errorf("%s is %v", raw, id)
		}
	}
	if _, err := identity.Parse[identity.UserSlug](strings.Repeat("9", 1<<20)); err == nil || len(err.Error()) > 200 {
		t.Error("a long text has a long error")
	}
}

func TestSQL(t *testing.T) {
	if v, err := identity.ClientID(7).Value(); err != nil || v != int64(7) {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := identity.ClientID(1 << 63).Value(); err == nil {
		t.Error("an ID of 2^63 fits an integer of SQL")
	}
	for _, column := range []any{int64(7), "7", []byte("7")} {
		var id identity.ClientID
		if err := id.Scan(column); err != nil || id != 7 {
			t.Errorf("%v: %v, %v", column, id, err)
		}
	}
	for _, column := range []any{int64(-1), nil, 7.0, "x", true} {
		var id identity.ClientID
		if err := id.Scan(column); err == nil {
			t.Errorf("%v is an ID", column)
		}
	}
	var none sql.Null[identity.ClientID]
	if err := none.Scan(nil); err != nil || none.Valid {
		t.Errorf("NULL: %v, %v", none, err)
	}
}

func TestFlag(t *testing.T) {
	var id identity.CertID
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var(&id, "cert", "")
	if err := flags.Parse([]string{"-cert", "17"}); err != nil || id != 17 {
		t.Errorf("%v, %v", id, err)
	}
	if err := flags.Parse([]string{"-cert", "-17"}); err == nil {
		t.Error("-17 is an ID")
	}
}
