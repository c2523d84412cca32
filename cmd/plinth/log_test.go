package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// As JSON every line is an object, the first and the last too, and a duration is a number
// whose unit is in its name.
func TestLogsAsJSON(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{}
	e := env{stdin: strings.NewReader(""), stdout: out, stderr: out, environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--http", "127.0.0.1:0", "--grpc", "", "--log", "json"}, e)
	}()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), `"msg":"ready"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not ready: %s", out)
		}
	}
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("exit code %d", code)
	}
	var last map[string]any
	for line := range strings.Lines(out.String()) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil || last["msg"] == nil {
			t.Errorf("%q is no record: %v", line, err)
		}
	}
	if last["msg"] != "shutting down" || last["timeout_seconds"] != 15.0 {
		t.Errorf("the last record is %v", last)
	}
}
