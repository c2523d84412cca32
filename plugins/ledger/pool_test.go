package ledger

import (
	"testing"
	"time"
)

// A node that was lost is no call's first choice while another is well, whatever time has
// passed and whoever names it, until it has answered; it is due for one probe at a time.
func TestLostNodes(t *testing.T) {
	endpoints := []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}
	p, err := newPool(endpoints, dialer{connect: time.Second, answer: 1 << 20, http2: DefaultConfig().HTTP2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	a, b := p.nodes[0], p.nodes[1]
	p.answered(a, true)
	p.failed(a)
	if due := p.due(b); len(due) != 0 {
		t.Error("it is asked again at once")
	}
	a.notBefore, p.next = time.Now().Add(-time.Second), 0 // its turn, and its penalty is over
	if p.pick(nil) != b {
		t.Error("it is asked in place of one that is well")
	}
	if p.hint(endpoints[0]) != nil || p.pick(nil) != b {
		t.Error("it is asked because it is said to lead")
	}
	if due := p.due(b); len(due) != 1 || due[0] != a {
		t.Errorf("due are %v", due)
	}
	if len(p.due(b)) != 0 {
		t.Error("it is asked twice at once")
	}
	p.failed(a)
	if p.failed(b); p.pick(nil) == nil || p.pick(map[*node]int{b: 1}) != a {
		t.Error("no node is asked where all are lost")
	}
	p.answered(b, false)
	p.answered(a, false)
	if p.next = 0; p.pick(nil) != a || p.hint(endpoints[0]) != a {
		t.Error("it has answered, and is not asked")
	}
}
