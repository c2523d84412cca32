package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/drain"
	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Version is that of this package's code.
const Version = "1"

// layer names the origin of this package's errors.
const layer = "ledger"

// What the server takes, and what is left of it for keys and values.
const (
	maxOps      = 1000                   // of one Write
	maxKeys     = 1000                   // of one BatchRead
	maxMessage  = 4_190_000              // bytes of one Write, of the 4 MiB that the server reads
	maxValue    = maxMessage - 4096      // leaves room for a key and what is around it
	maxWrite    = 4_000_000              // of a write set: the rest of the message is for what is around a thousand items
	leastWrite  = 100 * time.Millisecond // with less time left the server refuses a write
	ttlStep     = time.Second
	consistency = ledgerpb.ReadConsistency_READ_CONSISTENCY_LINEARIZABLE
	unspecified = ledgerpb.ReadConsistency_READ_CONSISTENCY_UNSPECIFIED // of what is no read of the vault
)

// Backend stores items in a vault of a Ledger cluster. It is safe for concurrent use.
type Backend struct {
	storage.UnimplementedBackend
	config  Config
	times   times
	info    atomic.Pointer[storage.Info]
	clock   *clock.Clock
	log     *slog.Logger
	pool    *pool
	source  source
	lanes   *lanes
	gate    gate
	heights heights
	losses  losses
	known   known
	fresh   sync.Once // looks at all nodes when one reports height 0
	leaders leaders
	notices notices
	page    atomic.Int64 // how many entities are asked for at once

	organization *ledgerpb.OrganizationSlug
	vault        *ledgerpb.VaultSlug
	caller       *ledgerpb.UserSlug // nil if none
	reading      ledgerpb.ReadConsistency
	foreign      sync.Once // reports entities that are none of ours

	calls    *drain.Gate     // of calls, with all their attempts
	life     context.Context // ends with Close
	end      func()
	running  sync.WaitGroup // goroutines
	spawning sync.Mutex     // held to add to running, and to end life
}

var (
	_ storage.Backend = (*Backend)(nil)
	_ sdk.Opener      = Open
)

// New makes a backend, and asks the cluster whether the vault is there and is the
// organization's. The caller closes it.
func New(ctx context.Context, config Config, env sdk.Env) (*Backend, error) {
	return newBackend(ctx, config, env, nil)
}

func newBackend(ctx context.Context, config Config, env sdk.Env, tracer trace.TracerProvider) (*Backend, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	env = env.WithDefaults()
	b := &Backend{config: config, clock: clock.New(env.Now), log: env.Log, calls: drain.New()}
	b.times, _ = config.times() // they are valid
	b.organization = &ledgerpb.OrganizationSlug{Slug: config.Organization}
	b.vault = &ledgerpb.VaultSlug{Slug: config.Vault}
	if config.Caller != 0 {
		b.caller = &ledgerpb.UserSlug{Slug: config.Caller}
	}
	if b.reading = consistency; config.ReadConsistency == Eventual {
		b.reading = ledgerpb.ReadConsistency_READ_CONSISTENCY_EVENTUAL
	}
	b.page.Store(int64(config.PageSize))
	if most := int64(env.MaxMessage) / 2; most > 0 && int64(b.config.MaxRangeBytes) > most {
		b.config.MaxRangeBytes = sdk.Size(most)
	}
	var instance [4]byte
	rand.Read(instance[:])
	b.lanes = newLanes(config.ClientID + "/" + hex.EncodeToString(instance[:]))
	info := config.Info()
	b.info.Store(&info)
	transport, err := config.transport()
	if err != nil {
		return nil, err
	}
	b.source = config.source(b.times)
	look, cancel := context.WithTimeout(ctx, b.times.connect)
	defer cancel()
	endpoints, err := b.source.nodes(look)
	if err != nil {
		return nil, err
	}
	if b.pool, err = newPool(endpoints, dialer{connect: b.times.connect, tls: transport, compress: config.Compression, answer: int(config.MaxAnswer),
		http2: config.HTTP2, conns: config.ConnectionPoolSize, tracer: tracer}); err != nil {
		return nil, storage.Errorf(storage.InvalidArgument, "%w", err)
	}
	var end context.CancelFunc
	b.life, end = context.WithCancel(context.Background())
	b.end = func() {
		b.spawning.Lock()
		defer b.spawning.Unlock()
		end()
	}
	if err := b.greet(ctx); err != nil {
		b.end()
		b.running.Wait()
		b.pool.close()
		return nil, err
	}
	if b.source.every > 0 {
		b.spawn(b.refresh)
	}
	return b, nil
}

// incarnation returns the same ID for as long as the cluster loses nothing: see
// Backend.tell.
func incarnation(organization, vault uint64) (id [16]byte) {
	h := sha256.New()
	h.Write([]byte("plinth ledger vault"))
	_ = binary.Write(h, binary.BigEndian, [2]uint64{organization, vault}) // a hash takes all
	copy(id[:], h.Sum(nil))
	return id
}

// greet reports whether the cluster has the vault, and has it under the organization:
// the server itself looks up the one without the other, so that a pair that does not
// belong together would be another vault.
func (b *Backend) greet(ctx context.Context) error {
	request := &ledgerpb.GetVaultRequest{Organization: b.organization, Vault: b.vault, Caller: b.caller}
	answer := new(ledgerpb.GetVaultResponse)
	_, err := b.read(ctx, "open", methodGetVault, unspecified, request, answer)
	var server *ServerError
	if errors.As(err, &server) && b.caller == nil && slices.Contains([]codes.Code{codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated}, server.Code) {
		// It may want to know who asks. What shows it to administrators does not.
		shown := new(ledgerpb.ShowVaultResponse)
		if _, err = b.read(ctx, "open", methodShowVault, unspecified, &ledgerpb.ShowVaultRequest{Organization: b.organization, Vault: b.vault}, shown); err == nil {
			answer.Vault = shown.GetInfo().GetSlug()
		}
	}
	switch {
	case err == nil && answer.GetVault().GetSlug() == b.config.Vault:
		return nil
	case err == nil:
		return sdk.ConfigErrorf("vault", "the vault does not belong to the organization")
	case errors.As(err, &server) && (server.Code == codes.Unavailable || server.Code == codes.NotFound) && b.uninitialized(ctx, server.Endpoint):
		return &storage.Error{Code: storage.Unavailable, Layer: layer, Op: "open", ConfigPath: "endpoints", Err: server,
			Msg: server.Endpoint + ": the node was never initialised: run \"plinth ledger bootstrap\""}
	case errors.As(err, &server) && server.Code == codes.NotFound:
		e := storage.AsError(err)
		return sdk.ConfigErrorf(e.ConfigPath, "unknown organization or vault")
	case errors.As(err, &server) && server.Code == codes.Unimplemented:
		return sdk.ConfigErrorf("endpoints", "%s is not a Ledger server: it does not implement Ledger's methods", server.Endpoint)
	}
	if e := storage.AsError(err); e.Code == storage.Unavailable || e.Code == storage.Timeout {
		own := *e
		own.ConfigPath = "endpoints"
		return &own
	}
	return err
}

// uninitialized reports whether the node at an endpoint says that it was never set up.
func (b *Backend) uninitialized(ctx context.Context, endpoint string) bool {
	for _, n := range b.pool.all() {
		if n.name == endpoint {
			answer := new(ledgerpb.GetNodeInfoResponse)
			return b.ask(ctx, n, b.times.read, methodGetNodeInfo, &ledgerpb.GetNodeInfoRequest{}, answer) == nil && answer.State == "uninitialized"
		}
	}
	return false
}

// Info says what the backend can do.
func (b *Backend) Info() storage.Info { return *b.info.Load() }

// Close lets the calls in flight finish, for as long as ctx lasts, and ends the
// connections. It is idempotent.
func (b *Backend) Close(ctx context.Context) error {
	b.calls.Shut()
	late := b.calls.Wait(ctx)
	if late != nil {
		late = named("close", late)
	}
	b.end()
	b.running.Wait()
	b.pool.close()
	return late
}
