package carrier_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
)

func TestEnvCheck(t *testing.T) {
	many := func(n int) map[string]string {
		values := map[string]string{}
		for i := range n {
			values[fmt.Sprint("V", i)] = "x"
		}
		return values
	}
	for _, c := range []struct {
		values map[string]string
		want   string // in the error; empty if none
	}{
		{nil, ""},
		{many(1024), ""},
		{many(1025), "holds 1025 variables, more than 1024"},
		{map[string]string{"A=B": "x"}, "must not contain ="},
		{map[string]string{"A": "x\x00y"}, "must not contain a zero byte"},
	} {
		err := carrier.EnvOf(c.values).Check("env")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d variables: %v, want %q", len(c.values), err, c.want)
		}
	}
}
