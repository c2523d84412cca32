package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth/secret"
)

const text = "hunter2-hunter2"

// Nothing that formats, logs or encodes a secret shows it, nor a part of it.
func TestNothingShowsIt(t *testing.T) {
	v := secret.Copy(text)
	type config struct {
		Token *secret.Value
		Map   map[string]*secret.Value
	}
	c := config{v, map[string]*secret.Value{"k": v}}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&shown, verb+" "+verb+"\n", v, c)
	}
	raw, err := json.Marshal(c)
	fmt.Fprintln(&shown, string(raw), err)
	raw, err = yaml.Marshal(c)
	fmt.Fprintln(&shown, string(raw), err)
	fmt.Fprintln(&shown, fmt.Errorf("with %v", v), errors.Join(fmt.Errorf("%s", v)), v)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("m", "v", v, "c", c)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("m", "v", v, "c", c)
	for _, part := range []string{text, text[:4], fmt.Sprintf("%x", text[:4]), fmt.Sprint([]byte(text[:2]))[1:7], `"hun`} {
		if strings.Contains(shown.String(), part) {
			t.Errorf("%q is shown:\n%s", part, &shown)
		}
	}
	if n := strings.Count(shown.String(), "[REDACTED]"); n < 20 {
		t.Errorf("it is redacted %d times:\n%s", n, &shown)
	}
}

func TestEqual(t *testing.T) {
	v := secret.Copy(text)
	for other, same := range map[string]bool{text: true, "": false, text + "x": false, text[1:]: false, strings.ToUpper(text): false} {
		if v.Equal([]byte(other)) != same {
			t.Errorf("%q: %v", other, !same)
		}
	}
	var none *secret.Value
	if !none.Equal(nil) || none.Equal([]byte("x")) || !new(secret.Value).Equal(nil) || none.Len() != 0 {
		t.Error("nil is not the empty secret")
	}
	none.Release()
}

// What is read from text replaces what was there, which is overwritten.
func TestUnmarshalText(t *testing.T) {
	v := secret.Copy(text)
	var before []byte
	v.Use(func(b []byte) { before = b })
	if err := json.Unmarshal([]byte(`"another"`), v); err != nil || v.Reveal() != "another" {
		t.Errorf("%v, it is %q", err, v.Reveal())
	}
	if !bytes.Equal(before, make([]byte, len(text))) {
		t.Errorf("the one before is still there: %q", before)
	}
	if err := v.UnmarshalText(nil); err != nil || v.Len() != 0 || v.Reveal() != "" {
		t.Errorf("%v, of nothing it has %d bytes", err, v.Len())
	}
	runtime.KeepAlive(v)
}

func TestSame(t *testing.T) {
	a, none := secret.Copy(text), (*secret.Value)(nil)
	if !a.Same(secret.Copy(text)) || !a.Same(a) || a.Same(secret.Copy("other")) || a.Same(none) || none.Same(a) || !none.Same(secret.Copy("")) {
		t.Error("secrets that are the same are not, or others are")
	}
}

// What was taken over is gone from where it came from, and what is released is overwritten.
func TestItIsOverwritten(t *testing.T) {
	from := []byte(text)
	v := secret.New(from)
	if !bytes.Equal(from, make([]byte, len(from))) {
		t.Errorf("it is still where it came from: %q", from)
	}
	var inside []byte
	v.Use(func(b []byte) { inside = b })
	if string(inside) != text || v.Len() != len(text) {
		t.Fatalf("it is %q", inside)
	}
	v.Release()
	if !bytes.Equal(inside, make([]byte, len(text))) { // its memory is there as long as v is
		t.Errorf("after the release its memory is %q", inside)
	}
	if v.Len() != 0 || v.Equal([]byte(text)) {
		t.Error("after the release it is not empty")
	}
	runtime.KeepAlive(v)
}

// It is in memory that is not swapped and not dumped, as Linux reports.
func TestMemoryIsLocked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says what its memory is like, in /proc")
	}
	v := secret.Copy(text)
	var at string
	v.Use(func(b []byte) { at = fmt.Sprintf("%x-", &b[0]) })
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, about, there := strings.Cut(string(maps), strings.TrimPrefix(at, "0x"))
	_, flags, _ := strings.Cut(about, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !there || !strings.Contains(flags, " dd") || !strings.Contains(flags, " dc") {
		t.Errorf("%s has the flags %q", at, flags)
	}
	if !strings.Contains(flags, " lo") {
		t.Logf("it is not locked: the limit on that is used up or 0")
	}
	runtime.KeepAlive(v)
}

// A thousand that are forgotten leave no memory behind.
func TestForgottenOnesAreFreed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says what its memory is like, in /proc")
	}
	mapped := func() (kib int) { // of secrets: threads have memory too, which stays
		maps, err := os.ReadFile("/proc/self/smaps")
		if err != nil {
			t.Fatal(err)
		}
		size := 0 // of the mapping whose lines these are; neighbours are one
		for line := range strings.Lines(string(maps)) {
			_, _ = fmt.Sscanf(line, "Size: %d kB", &size)
			if strings.HasPrefix(line, "VmFlags:") && strings.Contains(line, " dd") && strings.Contains(line, " dc") {
				kib += size
			}
		}
		return kib
	}
	before := mapped()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			v := secret.Copy(fmt.Sprint(text, i))
			if i%2 == 0 {
				v.Release()
			}
			v.Equal(nil)
		})
	}
	wg.Wait()
	for range 500 {
		if runtime.GC(); mapped() < before+200 {
			return
		}
		time.Sleep(10 * time.Millisecond) // cleanups run in the background
	}
	t.Errorf("%d KiB before, %d KiB after", before, mapped())
}

// More secrets than a process may have mappings are ordinary memory, and as secret otherwise.
func TestVeryMany(t *testing.T) {
	all := make([]*secret.Value, 70_000)
	for i := range all {
		all[i] = secret.Copy(fmt.Sprint("token-", i))
	}
	for i, v := range all {
		if !v.Equal([]byte(fmt.Sprint("token-", i))) {
			t.Fatalf("the one of %d is another", i)
		}
		v.Release()
	}
}

func BenchmarkEqual(b *testing.B) {
	v, other := secret.Copy(text), []byte(text)
	b.ReportAllocs()
	for b.Loop() {
		if !v.Equal(other) {
			b.Fatal()
		}
	}
}
