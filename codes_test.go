package plinth_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/circuitbreaker"
	"github.com/plinthkv/plinth/wrappers/retry"
)

// What an error of a backend is for a circuit breaker.
const (
	answered = "an answer"
	failed   = "a failure"
	silent   = "says nothing"
)

// Whether retry makes a call again that ended with an error.
const (
	again = true
	never = false
)

// everyCode is what is decided of each code, wherever a code has to be known. A code
// without a row fails the test, and so does a row without its place.
var everyCode = map[storage.Code]struct {
	http    int
	grpc    codes.Code
	settles bool // a refused write has no further attempts, see abigrpc.Settles
	read    bool // retry makes a read again,
	write   bool // and a write, over a backend that does not know repeats
	circuit string
}{
	storage.NotFound:         {404, codes.NotFound, false, never, never, answered},
	storage.Conflict:         {412, codes.Aborted, true, never, never, answered},
	storage.Unavailable:      {503, codes.Unavailable, false, again, again, failed},
	storage.Serialization:    {500, codes.Internal, false, never, never, answered},
	storage.Internal:         {500, codes.Internal, false, never, never, failed},
	storage.Timeout:          {504, codes.DeadlineExceeded, false, again, again, failed},
	storage.RetriesExhausted: {412, codes.Aborted, false, never, never, answered},
	storage.CircuitOpen:      {503, codes.Unavailable, false, never, never, answered},
	storage.SizeLimit:        {413, codes.InvalidArgument, true, never, never, answered},
	storage.RangeLimit:       {413, codes.OutOfRange, false, never, never, answered},
	storage.RateLimited:      {429, codes.ResourceExhausted, false, again, again, answered},
	storage.ShuttingDown:     {503, codes.Unavailable, false, never, never, silent},
	storage.OutcomeUnknown:   {500, codes.Unknown, false, again, never, failed},
	storage.Unsupported:      {501, codes.Unimplemented, true, never, never, answered},
	storage.InvalidArgument:  {400, codes.InvalidArgument, true, never, never, answered},
	storage.AlreadyExists:    {409, codes.AlreadyExists, false, never, never, answered},
	storage.PermissionDenied: {403, codes.PermissionDenied, true, never, never, answered},
	storage.NoSpace:          {507, codes.ResourceExhausted, true, never, never, answered},
	storage.TxnDone:          {500, codes.FailedPrecondition, false, never, never, answered},
	storage.Canceled:         {503, codes.Canceled, false, never, never, silent},
	storage.Unauthenticated:  {401, codes.Unauthenticated, false, never, never, answered},
	storage.VersionGone:      {410, codes.OutOfRange, false, never, never, answered},
}

func TestEveryCode(t *testing.T) {
	web, rpc := errorTable(t, "docs/http.md"), errorTable(t, "docs/grpc.md")
	spec, header := contents(t, "abi/SPEC.md"), contents(t, "internal/carrier/wasmhost/testdata/guests/plinth.h")
	proto := contents(t, "abi/proto/plinth/backend/v1/backend.proto")
	for c := storage.OK + 1; c.Known(); c++ {
		t.Run(c.Name(), func(t *testing.T) {
			want, ok := everyCode[c]
			if !ok {
				t.Fatal("nothing is decided about it: add a row to everyCode")
			}
			if got := httpStatus(t, c); got != want.http {
				t.Errorf("over HTTP it is %d, want %d", got, want.http)
			}
			if got := abigrpc.StatusCode(c, false); got != want.grpc {
				t.Errorf("over gRPC it is %s, want %s", got, want.grpc)
			}
			if got := abigrpc.Settles(&storage.Error{Code: c, Unknown: c == storage.OutcomeUnknown}); got != want.settles {
				t.Errorf("it settles a write: %t, want %t", got, want.settles)
			}
			if read, write := retried(t, c); read != want.read || write != want.write {
				t.Errorf("retry reads again: %t, want %t; writes again: %t, want %t", read, want.read, write, want.write)
			}
			if got := judged(t, c); got != want.circuit {
				t.Errorf("for circuit_breaker it is %s, want %s", got, want.circuit)
			}
			if status := strconv.Itoa(want.http); !slices.Contains(web[status], c.Name()) {
				t.Errorf("docs/http.md does not have it in the line of %s", status)
			}
			if status := code.Code_name[int32(want.grpc)]; !slices.Contains(rpc[status], c.Name()) {
				t.Errorf("docs/grpc.md does not have it in the line of %s", status)
			}
			number, name := strconv.Itoa(int(c)), strings.ToUpper(c.Name())
			for file, line := range map[string]bool{
				"abi/SPEC.md": regexp.MustCompile(`(?m)^\| ` + number + ` \| (\*\*)?` + c.Name() + `(\*\*)? \|`).MatchString(spec),
				"the proto":   strings.Contains(proto, "CODE_"+name+" = "+number+";"),
				"plinth.h":    regexp.MustCompile(`\b` + name + ` = ` + number + `,`).MatchString(header),
			} {
				if !line {
					t.Errorf("%s does not have it", file)
				}
			}
		})
	}
}

// errorTable is the table of a page's errors: the codes of each status.
func errorTable(t *testing.T, page string) map[string][]string {
	_, errors, _ := strings.Cut(contents(t, page), "\n## Errors\n")
	errors, _, _ = strings.Cut(errors, "\n## ")
	table := map[string][]string{}
	word := regexp.MustCompile(`\w+`)
	for _, line := range strings.Split(errors, "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 4 {
			listed, _, _ := strings.Cut(cells[2], ": ")
			for _, status := range word.FindAllString(cells[1], -1) {
				table[status] = append(table[status], word.FindAllString(listed, -1)...)
			}
		}
	}
	return table
}

func contents(t *testing.T, file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// failing returns the next of errs from each call, and then always the last.
type failing struct {
	storage.UnimplementedBackend
	errs  []error
	calls int
}

func (f *failing) next() error {
	f.calls++
	return f.errs[min(f.calls, len(f.errs))-1]
}

func (f *failing) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, f.next()
}

func (f *failing) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 0, f.next() }

func httpStatus(t *testing.T, c storage.Code) int {
	store := storage.New(&failing{errs: []error{c}}, storage.Settings{})
	srv, err := server.New(server.Config{}, server.Settings{Stores: map[string]*storage.Store{"s": store}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/stores/s/keys/k", nil))
	return w.Code
}

// retried is whether retry makes a read, and a write, again.
func retried(t *testing.T, c storage.Code) (read, write bool) {
	config := retry.DefaultConfig()
	config.Attempts, config.BaseDelay = 2, time.Microsecond
	below := &failing{errs: []error{c}}
	b, err := retry.New(below, config, wrappers.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = b.Get(t.Context(), []byte("k"))
	read, below.calls = below.calls > 1, 0
	_, _ = b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}})
	return read, below.calls > 1
}

// judged is what a circuit breaker makes of a code between two failures, of two in a
// row that open it.
func judged(t *testing.T, c storage.Code) string {
	opens := func(failures int, errs ...error) bool {
		config := circuitbreaker.DefaultConfig()
		config.Failures = failures
		b, err := circuitbreaker.New(&failing{errs: append(errs, nil)}, config, wrappers.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		for range errs {
			_, _ = b.Get(t.Context(), []byte("k"))
		}
		_, err = b.Get(t.Context(), []byte("k"))
		return storage.CodeOf(err) == storage.CircuitOpen
	}
	switch {
	case opens(1, c):
		return failed
	case opens(2, storage.Unavailable, c, storage.Unavailable):
		return silent
	}
	return answered
}
