//go:build unix

package etcd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

func TestBadConfigurations(t *testing.T) {
	const some = `"endpoints": ["http://a:1"], "prefix": "p/"`
	for config, want := range map[string]string{
		`{}`:                                    "endpoints: endpoints is required",
		`{"endpoints": ["http://a:1"]}`:         "prefix: prefix is required",
		`{"endpoints": ["a:1"], "prefix": "p"}`: "endpoints[0]: endpoint \"a:1\" must begin with http",
		`{"endpoints": ["http://a:1 :"], "prefix": "p"}`:              "endpoints[0]: the endpoint is not a URL",
		`{"endpoints": ["ftp://a:1"]}`:                                "endpoints[0]: endpoint \"ftp://a:1\" must begin with http",
		`{"endpoints": ["http://a"]}`:                                 "endpoints[0]: endpoint \"http://a\" must have a host and a port",
		`{"endpoints": ["http://u:secret@a:1"]}`:                      "endpoints[0]: endpoint \"http://u:xxxxx@a:1\": a user belongs",
		`{"endpoints": ["http://a:1/x"]}`:                             "endpoints[0]: endpoint \"http://a:1/x\" must be a host and a port alone",
		`{"endpoints": ["http://a:1", "http://a:1"], "prefix": "p"}`:  "endpoints[1]: duplicate endpoint",
		`{"endpoints": ["http://a:1", "https://a:1"], "prefix": "p"}`: "endpoints[1]: endpoints must be all http or all https",
		`{"endpoints": ["http://a:1"], "prefix": "a:b"}`:              "prefix: prefix must be text without",
		`{` + some + `, "username": "u"}`:                             "password: username and password must be set together",
		`{` + some + `, "tls": {"ca": "/ca"}}`:                        "tls: tls is set, and the endpoints are http",
		`{` + some + `, "timeouts": {"read": "1ms"}}`:                 "timeouts.read: timeouts.read is 1ms, it must be between",
		`{` + some + `, "timeouts": {"read": "soon"}}`:                "timeouts.read: \"soon\" is not a duration",
		`{` + some + `, "max_ops": 1}`:                                "max_ops: max_ops is 1, it must be between 16",
		`{` + some + `, "max_request": "1kB"}`:                        "max_request: max_request is 1000",
		`{` + some + `, "prefx": "p"}`:                                "prefx: unknown field \"prefx\": did you mean \"prefix\"?",
	} {
		_, err := Info(t.Context(), sdk.Env{Config: []byte(config)})
		if e := storage.AsError(err); e == nil || e.Code != storage.InvalidArgument || !strings.HasPrefix(e.ConfigPath+": "+e.Msg, want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// maintains is a server that says of itself what version it is.
type maintains struct {
	pb.UnimplementedMaintenanceServer
	version string
}

func (m maintains) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{}, Version: m.version}, nil
}

// listening is a server that passes its connections to serve.
func listening(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go serve(l)
	return "http://" + l.Addr().String()
}

// What is no server of ours is refused in bounded time, with what is wrong with it.
func TestBadServers(t *testing.T) {
	t.Parallel()
	grpcServer := func(register func(*grpc.Server)) func(net.Listener) {
		return func(l net.Listener) {
			s := grpc.NewServer()
			register(s)
			_ = s.Serve(l) // until it is closed
		}
	}
	for name, c := range map[string]struct {
		endpoint string
		code     storage.Code
		want     string
	}{
		"too old":     {listening(t, grpcServer(func(s *grpc.Server) { pb.RegisterMaintenanceServer(s, maintains{version: "3.4.27"}) })), storage.InvalidArgument, "runs etcd \"3.4.27\", it must be 3.5 or later"},
		"no version":  {listening(t, grpcServer(func(s *grpc.Server) { pb.RegisterMaintenanceServer(s, maintains{}) })), storage.InvalidArgument, "it must be 3.5 or later"},
		"not an etcd": {listening(t, grpcServer(func(*grpc.Server) {})), storage.InvalidArgument, "is not an etcd"},
		"no server of gRPC": {listening(t, func(l net.Listener) {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				_ = c.Close()
			}
		}), storage.Unavailable, "cannot be reached, or is not an etcd"},
		"hangs":        {listening(t, func(net.Listener) {}), storage.Unavailable, "no member has answered within 500ms"},
		"nobody":       {"http://" + freeAddr(t), storage.Unavailable, "connection refused"},
		"no such host": {"http://no-such-host.invalid:2379", storage.Unavailable, "no-such-host.invalid"},
	} {
		began := time.Now()
		b, err := Open(t.Context(), envOf([]string{c.endpoint}, "x/", nil, func(m map[string]any) { m["timeouts"] = map[string]any{"connect": "500ms"} }))
		if err == nil {
			_ = b.Close(t.Context())
		}
		wantCode(t, name, err, c.code, c.want)
		if path := storage.AsError(err).ConfigPath; path != "endpoints[0]" {
			t.Errorf("%s: the error is about %q", name, path)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// A prefix that is another's is left alone.
func TestBadPrefixes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "mine/")
	put := func(key, value string) {
		if _, err := b.client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	put("/registry/pods/x", "someone's")
	put("newer/:m", "plinth 2 00112233445566778899aabbccddeeff")
	put("odd/:m", "something")
	put("cut/:m", "plinth 1 0011")
	before, err := b.client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"/registry": "another program uses it", "newer/": "has the format 2, and this program knows 1", "odd/": "cannot be read", "cut/": "is damaged",
	} {
		_, err := Open(t.Context(), c.env(prefix, nil))
		wantCode(t, prefix, err, storage.InvalidArgument, want)
		if storage.AsError(err).ConfigPath != "prefix" {
			t.Errorf("%s: the error is about %q", prefix, storage.AsError(err).ConfigPath)
		}
	}
	after, err := b.client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil || after.Header.Revision != before.Header.Revision {
		t.Errorf("something was written: %v", err)
	}
	// One store is nobody's part, whatever its prefix begins with.
	inner := c.open(t, "mine/d")
	if err := set(inner, "k", "inner"); err != nil {
		t.Fatal(err)
	}
	if page, err := b.Scan(t.Context(), storage.Query{}); err != nil || len(page.Items) != 0 {
		t.Errorf("%v, %v", page.Items, err)
	}
	// Hosts that make the same store at once make one.
	var all sync.WaitGroup
	ids := make([][16]byte, 8)
	for i := range ids {
		all.Go(func() { ids[i] = c.open(t, "same/").info.Incarnation })
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == [16]byte{} {
			t.Errorf("the stores are %x", ids)
		}
	}
	// A store that is gone is noticed.
	if _, err := b.client.Delete(t.Context(), "mine/:m"); err != nil {
		t.Fatal(err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy || !strings.Contains(h.Reason, "is gone") {
		t.Errorf("%+v, %v", h, err)
	}
}

// A user without permission gets an error that says so; tokens that end are fetched again.
func TestUsers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--auth-token-ttl", "1")
	root := c.open(t, "root/").client
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.RoleAdd(ctx, "root"))
	must(root.UserAdd(ctx, "root", "root"))
	must(root.UserGrantRole(ctx, "root", "root"))
	must(root.RoleAdd(ctx, "app"))
	must(root.RoleGrantPermission(ctx, "app", "app/", clientv3.GetPrefixRangeEnd("app/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(root.UserAdd(ctx, "app", "secret"))
	must(root.UserGrantRole(ctx, "app", "app"))
	must(root.AuthEnable(ctx))
	as := func(user, password string) func(map[string]any) {
		return func(m map[string]any) {
			if user != "" {
				m["username"], m["password"] = user, password
			}
		}
	}
	for _, w := range []struct {
		prefix, user, password string
		code                   storage.Code
		path, want             string
	}{
		{"app/", "app", "wrong", storage.Unauthenticated, "password", "refuses the username or the password"},
		{"app/", "nobody", "secret", storage.Unauthenticated, "password", "refuses the username or the password"},
		{"app/", "", "", storage.Unauthenticated, "username", "requires a user"},
		{"other/", "app", "secret", storage.PermissionDenied, "prefix", "needs readwrite"},
	} {
		_, err := Open(ctx, c.env(w.prefix, nil, as(w.user, w.password)))
		wantCode(t, w.user+" "+w.password, err, w.code, w.want)
		if e := storage.AsError(err); e.ConfigPath != w.path || strings.Contains(err.Error(), w.password+"x") {
			t.Errorf("%s: the error is about %q", w.user, e.ConfigPath)
		}
	}
	b := c.open(t, "app/", as("app", "secret"))
	for i := range 3 {
		if err := set(b, "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if is := get(b, "k"); is != fmt.Sprint(i) {
			t.Fatal(is)
		}
		time.Sleep(2 * time.Second) // its token ends meanwhile
	}
	if _, err := b.Apply(ctx, &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.PutUntil([]byte("t"), nil, time.Now().Add(time.Hour)), storage.DeleteRange(nil, []byte("j"))}}); err != nil {
		t.Errorf("%v", err)
	}
	if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
}
