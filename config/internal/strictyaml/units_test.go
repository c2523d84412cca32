package strictyaml

import (
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	tests := []struct {
		in   string
		want Bytes
		text string // what the size is written as
		err  string // "not a size", …; empty if none
	}{
		{"0", 0, "0", ""},
		{"512", 512, "512", ""},
		{"512B", 512, "512", ""},
		{"1kB", 1000, "1000", ""},
		{"1KB", 1000, "1000", ""},
		{"3MB", 3e6, "3000000", ""},
		{"1GB", 1e9, "1000000000", ""},
		{"1TB", 1e12, "976562500KiB", ""},
		{"4KiB", 4 << 10, "4KiB", ""},
		{"64MiB", 64 << 20, "64MiB", ""},
		{"1024MiB", 1 << 30, "1GiB", ""},
		{"2TiB", 2 << 40, "2TiB", ""},
		{"007KiB", 0, "", "has a leading zero"},
		{"0777", 0, "", "has a leading zero"},
		{"00", 0, "", "has a leading zero"},
		{"0KiB", 0, "0", ""},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807", ""},
		{"8388607TiB", 8388607 << 40, "8388607TiB", ""},
		{"8388608TiB", 0, "", "is too large"},
		{"9223372036854775808", 0, "", "is too large"},
		{"99999999999999999999", 0, "", "is too large"},
		{"", 0, "", "is not a size"},
		{"MiB", 0, "", "is not a size"},
		{"64M", 0, "", "is not a size"},
		{"64mib", 0, "", "is not a size"},
		{"64 MiB", 0, "", "is not a size"},
		{"64MiB ", 0, "", "is not a size"},
		{"1.5MiB", 0, "", "is not a size"},
		{"1e3", 0, "", "is not a size"},
		{"+1", 0, "", "is not a size"},
		{"-1", 0, "", "is negative"},
		{"0x10", 0, "", "is not a size"},
		{"64\x00", 0, "", "is not a size"},
		{"٣", 0, "", "is not a size"},
	}
	for _, tt := range tests {
		var b Bytes
		err := b.UnmarshalText([]byte(tt.in))
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("%q: %v", tt.in, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: %v, want %s", tt.in, err, tt.err)
		case err == nil && (b != tt.want || b.String() != tt.text):
			t.Errorf("%q: %d %s, want %d %s", tt.in, b, b, tt.want, tt.text)
		}
		var again Bytes
		if text, _ := b.MarshalText(); again.UnmarshalText(text) != nil || again != b {
			t.Errorf("%q: %s is read as %d", tt.in, text, again)
		}
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		err  string
	}{
		{"0", 0, ""},
		{"0s", 0, ""},
		{"0.5s", 500 * time.Millisecond, ""},
		{"1.05s", 1050 * time.Millisecond, ""},
		{"1h0m5s", time.Hour + 5*time.Second, ""},
		{"010s", 0, "has a leading zero"},
		{"00.5s", 0, "has a leading zero"},
		{"1h05m", 0, "has a leading zero"},
		{"30s", 30 * time.Second, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"1.5s", 1500 * time.Millisecond, ""},
		{"2562047h47m16.854775807s", 1<<63 - 1, ""},
		{"2562048h", 0, "is not a duration"},
		{"30", 0, "has no unit"},
		{"1.5", 0, "has no unit"},
		{"-30", 0, "has no unit"},
		{"-30s", 0, "is negative"},
		{"1d", 0, "is not a duration"},
		{"30 s", 0, "is not a duration"},
		{"s", 0, "is not a duration"},
		{"", 0, "is not a duration"},
	}
	for _, tt := range tests {
		var d Duration
		err := d.UnmarshalText([]byte(tt.in))
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("%q: %v", tt.in, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: %v, want %s", tt.in, err, tt.err)
		case time.Duration(d) != tt.want:
			t.Errorf("%q: %v, want %v", tt.in, d, tt.want)
		}
		var again Duration
		if text, _ := d.MarshalText(); again.UnmarshalText(text) != nil || again != d {
			t.Errorf("%q: %s is read as %v", tt.in, text, again)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"max_bytes", "max_ops", "ttl", "on_loss", strings.Repeat("x", 100)}
	for in, want := range map[string]string{
		"max_byte": "max_bytes", "maxbytes": "max_bytes", "MAX-BYTES": "max_bytes", "max_btyes": "max_bytes",
		"max_opps": "max_ops", "tll": "ttl", "tt": "ttl", "onloss": "on_loss",
		"": "", "size": "", "t": "", "max": "", strings.Repeat("x", 99): "", "ttl\x00\xff": "",
	} {
		if got := Nearest(in, known); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
