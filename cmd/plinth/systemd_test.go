package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A service manager hears when the program is ready, reloads and stops, and that it lives.
func TestServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "50000")
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("it does not hear %s: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(file, []byte("stores: { default: { backend: { plugin: memory } } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("serve", func(t *testing.T) {
		web, _ := serveFile(t, file)
		hears("READY=1\nSTATUS=generation 1")
		hears("WATCHDOG=1")
		done(t, "reload", "--addr", web)
		hears("RELOADING=1\nMONOTONIC_USEC=")
		hears("READY=1\nSTATUS=generation 2")
	})
	hears("STOPPING=1")
}

// Sockets that a service manager has opened stand in the place of addresses.
func TestSocketActivation(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	socket, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	start := func(names, grpc string) (*exec.Cmd, string) {
		serve := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve --http 127.0.0.1:1 --grpc "$1"`, os.Args[0], grpc)
		serve.Env = append(os.Environ(), "PLINTH_CACHE_DIR="+sharedCache(t), "GORACE=atexit_sleep_ms=0", asProgram+"=1", "LISTEN_FDS=1", "LISTEN_FDNAMES="+names)
		serve.ExtraFiles = []*os.File{socket}
		out, err := serve.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		serve.Stderr = serve.Stdout
		if err := serve.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		return serve, line
	}
	serve, line := start("http", "")
	if want := fmt.Sprintf("plinth: ready on http://%s, ", tcp.Addr()); !strings.HasPrefix(line, want) {
		t.Fatalf("it says %q, want %q", line, want)
	}
	res, err := http.Get("http://" + tcp.Addr().String() + "/readyz")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%+v, %v", res, err)
	}
	if err == nil {
		res.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, serve); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for names, want := range map[string]string{"web": `one is named "web": set FileDescriptorName= to http, grpc or probes`, "grpc": "server.grpc: the service manager passed a socket for it, but the configuration disables it"} {
		serve, line := start(names, "")
		if !strings.Contains(line, want) {
			t.Errorf("%s: %q, want %s", names, line, want)
		}
		if code := ends(t, serve); code != exitFailed {
			t.Errorf("%s: exit code %d", names, code)
		}
	}
}
