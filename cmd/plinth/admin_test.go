package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Administrative requests beyond the limit are refused with a time to come again.
func TestAdminAtOnce(t *testing.T) {
	admin := (&reloader{}).admin()
	var wg sync.WaitGroup
	var ends []*io.PipeWriter
	for range mostAdmin {
		body, w := io.Pipe()
		ends = append(ends, w)
		wg.Go(func() {
			admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/admin/plan", body))
		})
	}
	for _, w := range ends { // a request reads its body once it has a place
		if _, err := io.WriteString(w, "{"); err != nil {
			t.Fatal(err)
		}
	}
	refused := httptest.NewRecorder()
	admin.ServeHTTP(refused, httptest.NewRequest(http.MethodGet, "/v1/admin/nothing", nil))
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") == "" {
		t.Errorf("one more is answered %d, Retry-After %q", refused.Code, refused.Header().Get("Retry-After"))
	}
	for _, w := range ends {
		_ = w.CloseWithError(io.ErrUnexpectedEOF)
	}
	wg.Wait()
	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/admin/nothing", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("afterwards: %d", w.Code)
	}
}
