package client_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
)

// A client sends its token with every call. Nothing that formats a client shows it.
func TestTokenIsNotShown(t *testing.T) {
	const token = "zqxjvwkZXQJKVyqz"
	path := t.TempDir() + "/s"
	start(t, grpcserver.Config{Listener: server.Listener{Address: "unix:" + path, Token: secret.Copy(token)}}, mem(time.Now), time.Now)
	config := client.Config{Address: "unix:" + path, Token: secret.Copy(token), Store: "s"}
	c := dial(t, config, client.Settings{})
	if err := c.Close(t.Context()); err != nil { // fmt reads fields without the locks of what runs
		t.Fatal(err)
	}
	for _, holder := range []any{config, &config, c, []*client.Client{c}, struct{ C *client.Client }{c}, struct{ c *client.Client }{c}, struct{ c any }{c}} {
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, flag := range []string{"", "+", "#"} {
				text := strings.ToLower(fmt.Sprintf("%"+flag+string(verb), holder))
				for _, form := range []string{"%s", "%x"} {
					if strings.Contains(text, strings.ToLower(fmt.Sprintf(form, token))) {
						t.Errorf("%%%s%c of a %T shows the token", flag, verb, holder)
					}
				}
			}
		}
	}
}
