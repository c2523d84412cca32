package etcd

import (
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The client of etcd has the password as text. Nothing that formats a backend shows it.
func TestPasswordIsNotShown(t *testing.T) {
	const password = "zqxjvwkZXQJKVyqz"
	b := &Backend{client: &clientv3.Client{Password: password}}
	for _, holder := range []any{b, []*Backend{b}, struct{ B *Backend }{b}, struct{ b *Backend }{b}, struct{ b any }{b}} {
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, flag := range []string{"", "+", "#"} {
				text := strings.ToLower(fmt.Sprintf("%"+flag+string(verb), holder))
				for _, form := range []string{"%s", "%x"} {
					if strings.Contains(text, strings.ToLower(fmt.Sprintf(form, password))) {
						t.Errorf("%%%s%c of a %T shows the password", flag, verb, holder)
					}
				}
			}
		}
	}
}
