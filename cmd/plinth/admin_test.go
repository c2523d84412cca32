package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// More than so many administrative requests at once are told to come again.
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
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // until all have a place
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/admin/nothing", nil))
		if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("one more is answered %d", w.Code)
		}
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
