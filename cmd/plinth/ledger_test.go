package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// program runs the program and returns its output and its exit code.
func program(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs})
	return out.String(), errs.String(), code
}

// ledgerCluster is one with some blocks, which ends with the test.
func ledgerCluster(t *testing.T, o ledgertest.Options) *ledgertest.Cluster {
	t.Helper()
	c, err := ledgertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fill(t *testing.T, endpoints []string, organization, vault uint64) {
	t.Helper()
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = endpoints, organization, vault
	b, err := ledger.New(t.Context(), config, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	for i := range 5 {
		if err := storage.New(b, storage.Settings{}).Set(t.Context(), []byte("k"), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantAll(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

func TestLedgerVerify(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{})
	fill(t, c.Endpoints(), ledgertest.Organization, ledgertest.Vault)
	vault := []string{"ledger", "verify", "--endpoint", c.Endpoints()[0], "--organization", fmt.Sprint(ledgertest.Organization), "--vault", fmt.Sprint(ledgertest.Vault)}
	out, errs, code := program(t, append(vault, "k", "--to", "3")...)
	if code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "heights 1 to 3", "each holds the transactions", "3 headers, back from block 3 to the first", "anchor: 3:",
		"the state is the one that the tip commits to (height 5", "present, 1 bytes at height 5", "NOT PROVEN: the server's proof is empty", "at height 3, by the blocks that the server kept: present, 1 bytes")
	_, rest, _ := strings.Cut(out, "anchor: ")
	anchor, _, _ := strings.Cut(rest, "\n")
	if out, errs, code = program(t, append(vault, "--from", "2", "--anchor", anchor, "--no-state")...); code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "heights 2 to 5", "to the trusted block 3")
	if strings.Contains(out, "state:") {
		t.Error(out)
	}
	for name, bad := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no anchor":        {append(vault, "--anchor", "3:abc"), exitUsage, "HEIGHT:HASH"},
		"no such store":    {[]string{"ledger", "verify", "--store", "nowhere"}, exitUsage, "no store"},
		"another backend":  {[]string{"ledger", "verify", "--set", "stores.default.backend.config.max_bytes=1MiB"}, exitFailed, "not a valid ledger"},
		"no such vault":    {[]string{"ledger", "verify", "--endpoint", c.Endpoints()[0], "--organization", "1", "--vault", "1"}, exitFailed, "unknown organization or vault"},
		"another anchor":   {append(vault, "--anchor", "3:"+strings.Repeat("0", 64)), exitFailed, "verification failed"},
		"a key that is no": {append(vault, strings.Repeat("x", 513)), exitFailed, "limit is 512"},
	} {
		if _, errs, code := program(t, bad.args...); code != bad.code || !strings.Contains(errs, bad.says) {
			t.Errorf("%s: %d, %s", name, code, errs)
		}
	}
	if err := c.Tamper(ledgertest.Vault, 4, func(b *ledgerpb.Block) {
		b.Transactions[0].Operations[0].GetSetEntity().Value = []byte("forged")
	}); err != nil {
		t.Fatal(err)
	}
	if out, _, code = program(t, vault...); code != exitFailed {
		t.Error(code)
	}
	wantAll(t, out, "WRONG: block 4")
}

func TestLedgerTry(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{Nodes: 2})
	c.Node(0).Advertise("http://127.0.0.1:1")
	out, errs, code := program(t, "ledger", "try", "--endpoint", c.Endpoints()[0], "--endpoint", c.Endpoints()[1],
		"--organization", fmt.Sprint(ledgertest.Organization), "--vault", fmt.Sprint(ledgertest.Vault))
	if code != exitFailed || !strings.Contains(errs, "does not behave as the backend assumes") {
		t.Error(code, errs)
	}
	wantAll(t, out, "holds   a write that is repeated is done once (", "BREAKS  a node that does not lead says who does (", "--advertise")
}

// The nodes are compared, the keys on which they differ printed, and what was not
// archived is said to be uncheckable, not wrong.
func TestLedgerVerifyOfNodesAndGaps(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{Nodes: 2})
	args := []string{"ledger", "verify", "--organization", fmt.Sprint(ledgertest.Organization), "--vault", fmt.Sprint(ledgertest.Vault)}
	for _, endpoint := range c.Endpoints() {
		args = append(args, "--endpoint", endpoint)
	}
	fill(t, c.Endpoints(), ledgertest.Organization, ledgertest.Vault)
	out, errs, code := program(t, append(args, "--nodes")...)
	if code != exitDone || strings.Contains(out, "DIFFERS") {
		t.Fatal(code, out, errs)
	}
	wantAll(t, out, "node 1: "+c.Endpoints()[0]+": height 5", "node 2: "+c.Endpoints()[1]+": height 5")
	c.Node(1).Isolate()
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = c.Endpoints()[:1], ledgertest.Organization, ledgertest.Vault
	b, err := ledger.New(t.Context(), config, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	large := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), make([]byte, 8000)), storage.Put([]byte("l"), make([]byte, 8000)), storage.Put([]byte("m"), make([]byte, 8000))}}
	if _, err := b.Apply(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	out, _, code = program(t, append(args, "--nodes")...)
	if code != exitFailed {
		t.Error(code)
	}
	wantAll(t, out, `DIFFERS: "k": node 1 value A node 2 value B`, `DIFFERS: "l": node 1 value A node 2 absent`)
	c.Node(1).Rejoin()
	if out, errs, code = program(t, append(args, "--from", "6")...); code != exitDone {
		t.Error(code, out, errs)
	}
	wantAll(t, out, "1 heights CANNOT BE CHECKED", "state:  cannot be checked")
}

// From an empty cluster to a store whose configuration is what was printed.
func TestLedgerBootstrap(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for some seconds, as the server asks for; plugins/ledger has the same steps without")
	}
	c := ledgerCluster(t, ledgertest.Options{Uninitialized: true})
	out, errs, code := program(t, "ledger", "bootstrap", "--endpoint", c.Endpoints()[0])
	if code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, errs, "the cluster is initialised", "the region us-east-va is provisioned", "the organization ", "the vault ")
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code = program(t, "ledger", "verify", "-c", file); code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "there is no block yet")
	if _, errs, code := program(t, "ledger", "bootstrap", "--endpoint", "nonsense"); code != exitFailed || !strings.Contains(errs, "begins neither") {
		t.Errorf("%d, %s", code, errs)
	}
}

// soonGone has a plugin that is this program not sleep at its end, as programs with the
// race detector in them do.
const soonGone = "plugins: { ledger: { grants: { env: { GORACE: atexit_sleep_ms=0 } } } }\n"

// ledgerFile is a configuration of a store on a cluster.
func ledgerFile(t *testing.T, backend string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	text := "stores:\n  default:\n    backend:\n      plugin: ledger\n      config:\n" + backend + "    pipeline: [instrument, { size_limits: { key: 512, value: 8KiB } }]\n" + soonGone
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The program is the plugin too: a store names it, and nothing else is needed.
func TestLedgerIsBuiltIn(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{Nodes: 3})
	good := fmt.Sprintf("        endpoints: [%s]\n        organization: %d\n        vault: %d\n", strings.Join(c.Endpoints(), ", "), ledgertest.Organization, ledgertest.Vault)
	file := ledgerFile(t, good)
	out, errs, code := program(t, "check", file)
	if code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "instrument → size_limits → ledger", "can: ttl,atomic,reverse,durable")
	if out, errs, code = program(t, "plugin", "list", "-c", file); code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "ledger")
	raw := fmt.Sprintf(`{"endpoints": ["%s"], "organization": %d, "vault": %d}`, c.Endpoints()[0], ledgertest.Organization, ledgertest.Vault)
	if out, errs, code = program(t, "plugin", "inspect", "ledger", "--deep", "--config", raw); code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "name:         ledger", "over frames", "versions        no", "limits:")
	if _, errs, code = program(t, "plugin", "inspect", "ledger"); code != exitFailed || !strings.Contains(errs, "endpoints is empty") {
		t.Errorf("%d, %s", code, errs)
	}
	if _, errs, code = program(t, "plugin", "test", "ledger"); code != exitUsage || !strings.Contains(errs, "with its own clock") {
		t.Errorf("%d, %s", code, errs)
	}
	// An entry changes how it is run, and no more than that.
	well := []string{"check", "--set", "plugins.ledger.restart.wait=9s", "--set", "plugins.ledger.limits.call=10s",
		"--set", "plugins.ledger.process.transport=grpc", "--set", "plugins.ledger.grants.dir=" + t.TempDir(), file}
	for wrong, says := range map[string]string{
		"":                                  "",
		"plugins.ledger.isolation=sideways": "plugins.ledger.isolation: must be process or none",
		"plugins.ledger.isolation=none":     "plugins.ledger.limits: does not belong to a plugin that is a linked-in backend",
		"plugins.ledger.process.start_timeout=1ns": "not ready within 1ns",
	} {
		args := well
		if wrong != "" {
			args = append(slices.Clone(well), "--set", wrong)
		}
		if _, errs, code = program(t, args...); (code == exitDone) != (says == "") || !strings.Contains(errs, says) {
			t.Errorf("%s: %d, %s", wrong, code, errs)
		}
	}
	h, err := plinth.Open(t.Context(), file, source{}.options(env{environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}})...)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	s := storeOf(t, h, "default")
	if err := s.Set(t.Context(), []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), []byte("k")); err != nil || string(v) != "v" || s.Carrier() != "process" || !s.Shared() {
		t.Errorf("%q, %v, %s, shared %t", v, err, s.Carrier(), s.Shared())
	}
	for name, bad := range map[string]struct{ backend, says string }{
		"unknown vault":        {strings.Replace(good, fmt.Sprint("vault: ", ledgertest.Vault), "vault: 5", 1), "plinth.yaml:8:16"},
		"another organization": {strings.Replace(good, fmt.Sprint("vault: ", ledgertest.Vault), fmt.Sprint("vault: ", ledgertest.OtherVault), 1), "plinth.yaml:8:16"},
		"a bad endpoint":       {strings.Replace(good, c.Endpoints()[1], "localhost:1", 1), "begins neither"},
		"a misspelt name":      {good + "        timeouts: { reed: 5s }\n", "reed"},
		"a bad time":           {good + "        timeouts: { read: 5 }\n", "plinth.yaml:9:27"},
		"nobody there":         {strings.Replace(good, strings.Join(c.Endpoints(), ", "), "http://127.0.0.1:1", 1), "cannot be reached"},
	} {
		if _, errs, code := program(t, "check", ledgerFile(t, bad.backend)); code != exitFailed || !strings.Contains(errs, bad.says) {
			t.Errorf("%s: %d, %s", name, code, errs)
		}
	}
}

// storeOf is the store of that name, which has to be there.
func storeOf(t testing.TB, h *plinth.Host, name string) *plinth.Store {
	t.Helper()
	s, err := h.Store(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
