package ledger

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// BootstrapOptions configure [Bootstrap]. Zero fields have the defaults named here.
type BootstrapOptions struct {
	Endpoints    []string // the nodes; the first is initialised
	Region       string   // lower-case letters, digits, hyphens; by default us-east-va
	Email        string   // of the first user, which must not be known yet; by default a random one
	Name         string   // of that user; by default Plinth
	Organization string   // its name; by default Plinth
	VaultSlug    uint64   // of the vault; by default a new one. The same slug again is the same vault
	TLS          *tls.Config

	// Tell, if set, is called with each step, in words.
	Tell func(string)
	// Pause waits between attempts; by default for a time by the clock.
	Pause func(ctx context.Context, d time.Duration) error
}

// Bootstrapped holds the result of [Bootstrap].
type Bootstrapped struct {
	Region                    string
	User, Organization, Vault uint64 // slugs
}

// How long steps of a bootstrap are tried, and what is waited between attempts.
const (
	stepPatience   = 30 * time.Second // of each step, but for the first
	startPatience  = 2 * time.Minute  // until all nodes are members
	betweenTries   = 500 * time.Millisecond
	afterRegion    = 3 * time.Second // until a region has a leader
	attemptTimeout = 10 * time.Second
	sagaTimeout    = 35 * time.Second // of a registration, which makes user and organization
)

// Bootstrap sets a fresh cluster up: it initialises it, and gets it a region, a user,
// an organization and a vault. On a cluster that was initialised before it makes
// another user, organization and vault. ctx bounds all of it.
func Bootstrap(ctx context.Context, o BootstrapOptions) (Bootstrapped, error) {
	o.defaults()
	var done Bootstrapped
	if len(o.Endpoints) == 0 {
		return done, storage.Errorf(storage.InvalidArgument, "no endpoint is named")
	}
	p, err := newPool(o.Endpoints, dialer{connect: 5 * time.Second, tls: o.TLS, answer: 4 << 20, http2: DefaultConfig().HTTP2})
	if err != nil {
		return done, storage.Errorf(storage.InvalidArgument, "%w", err)
	}
	defer p.close()
	s := &setup{o: o, pool: p}
	done.Region = o.Region
	for _, step := range []func(context.Context, *Bootstrapped) error{s.initialize, s.members, s.region, s.register, s.vault, s.reachable} {
		if err := step(ctx, &done); err != nil {
			return done, named("bootstrap", err)
		}
	}
	return done, nil
}

func (o *BootstrapOptions) defaults() {
	for _, d := range []struct {
		have *string
		want string
	}{{&o.Region, "us-east-va"}, {&o.Email, randomEmail()}, {&o.Name, "Plinth"}, {&o.Organization, "Plinth"}} {
		if *d.have == "" {
			*d.have = d.want
		}
	}
	if o.VaultSlug == 0 {
		o.VaultSlug = NewSlug(time.Now())
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Pause == nil {
		o.Pause = pause
	}
}

func randomEmail() string {
	var b [6]byte
	rand.Read(b[:])
	return "plinth-" + hex.EncodeToString(b[:]) + "@plinth.invalid"
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

// NewSlug returns a slug in the form of the server's: the milliseconds since 2024, then a
// worker and a sequence, which are random here.
func NewSlug(now time.Time) uint64 {
	var b [8]byte
	rand.Read(b[:])
	ms := max(now.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds(), 1)
	return uint64(ms)<<22 | binary.BigEndian.Uint64(b[:])&(1<<22-1)
}

// setup is one bootstrap.
type setup struct {
	o    BootstrapOptions
	pool *pool
}

func (s *setup) initialize(ctx context.Context, _ *Bootstrapped) error {
	answer := new(ledgerpb.InitClusterResponse)
	nodes := s.pool.all()[:1] // one alone, once
	if err := s.ask(ctx, nodes, startPatience, attemptTimeout, methodInitCluster, &ledgerpb.InitClusterRequest{}, answer); err != nil {
		return err
	}
	if answer.AlreadyInitialized {
		s.o.Tell("the cluster was initialised before")
	} else {
		s.o.Tell("the cluster is initialised")
	}
	return nil
}

// members waits until there is a leader, and every node that is named has a vote.
func (s *setup) members(ctx context.Context, _ *Bootstrapped) error {
	want := len(s.o.Endpoints)
	voters := 0
	for waited := time.Duration(0); waited < startPatience; waited += betweenTries {
		answer := new(ledgerpb.GetClusterInfoResponse)
		if err := s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodGetClusterInfo, &ledgerpb.GetClusterInfoRequest{}, answer); err != nil {
			return err
		}
		voters = 0
		for _, m := range answer.Members {
			if m.Role == ledgerpb.ClusterMemberRole_CLUSTER_MEMBER_ROLE_VOTER {
				voters++
			}
		}
		if answer.LeaderId != 0 && voters >= want {
			s.o.Tell(fmt.Sprintf("there is a leader, and %d voting nodes", voters))
			return nil
		}
		if err := s.o.Pause(ctx, betweenTries); err != nil {
			return err
		}
	}
	return storage.Errorf(storage.Unavailable, "%d endpoints given but only %d voting nodes: start the others with --join and the addresses of all nodes", want, voters)
}

func (s *setup) region(ctx context.Context, _ *Bootstrapped) error {
	answer := new(ledgerpb.ProvisionRegionResponse)
	request := &ledgerpb.ProvisionRegionRequest{Name: s.o.Region, RetentionDays: 90}
	if err := s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodProvision, request, answer); err != nil {
		return err
	}
	if !answer.Created {
		s.o.Tell("the region " + s.o.Region + " exists")
		return nil
	}
	s.o.Tell("the region " + s.o.Region + " is provisioned")
	return s.o.Pause(ctx, afterRegion)
}

// register makes the first user, and an organization with it.
func (s *setup) register(ctx context.Context, done *Bootstrapped) error {
	code := new(ledgerpb.InitiateEmailVerificationResponse)
	if err := s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodInitiateEmail,
		&ledgerpb.InitiateEmailVerificationRequest{Email: s.o.Email, Region: s.o.Region}, code); err != nil {
		return blinding(err)
	}
	verified := new(ledgerpb.VerifyEmailCodeResponse)
	if err := s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodVerifyEmail,
		&ledgerpb.VerifyEmailCodeRequest{Email: s.o.Email, Code: code.Code, Region: s.o.Region}, verified); err != nil {
		return blinding(err)
	}
	token := verified.GetNewUser().GetOnboardingToken()
	if token == "" {
		return storage.Errorf(storage.AlreadyExists, "the e-mail address is already registered, and a user gets only one organization; use another address")
	}
	answer := new(ledgerpb.CompleteRegistrationResponse)
	request := &ledgerpb.CompleteRegistrationRequest{OnboardingToken: token, Email: s.o.Email, Region: s.o.Region, Name: s.o.Name, OrganizationName: s.o.Organization}
	if err := s.ask(ctx, s.pool.all(), 2*stepPatience, sagaTimeout, methodRegister, request, answer); err != nil {
		return blinding(err)
	}
	done.User, done.Organization = answer.GetUser().GetSlug().GetSlug(), answer.GetOrganization().GetSlug()
	if done.Organization == 0 {
		return storage.Errorf(storage.AlreadyExists, "the server returned no organization: the e-mail address was registered before, or an answer was lost; use another address")
	}
	s.o.Tell(fmt.Sprintf("the organization %d exists, with its first user %d", done.Organization, done.User))
	return nil
}

// blinding says what a refusal of any registration means.
func blinding(err error) error {
	e := storage.AsError(err)
	if server, ok := e.Err.(*ServerError); ok && server.Code == codes.FailedPrecondition {
		own := *e
		own.Msg = server.Endpoint + ": the server does not register users: start it with --email-blinding-key, the same on all nodes"
		return &own
	}
	return err
}

func (s *setup) vault(ctx context.Context, done *Bootstrapped) error {
	answer := new(ledgerpb.CreateVaultResponse)
	request := &ledgerpb.CreateVaultRequest{Organization: &ledgerpb.OrganizationSlug{Slug: done.Organization}, Caller: &ledgerpb.UserSlug{Slug: done.User},
		Slug: &ledgerpb.VaultSlug{Slug: s.o.VaultSlug}}
	if err := s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodCreateVault, request, answer, codes.NotFound, codes.FailedPrecondition); err != nil {
		return err
	}
	if done.Vault = answer.GetVault().GetSlug(); done.Vault == 0 {
		done.Vault = s.o.VaultSlug
	}
	s.o.Tell(fmt.Sprintf("the vault %d exists", done.Vault))
	return nil
}

// reachable waits until the vault answers.
func (s *setup) reachable(ctx context.Context, done *Bootstrapped) error {
	answer := new(ledgerpb.ReadResponse)
	request := &ledgerpb.ReadRequest{Organization: &ledgerpb.OrganizationSlug{Slug: done.Organization}, Vault: &ledgerpb.VaultSlug{Slug: done.Vault},
		Key: "00", Consistency: consistency}
	return s.ask(ctx, s.pool.all(), stepPatience, attemptTimeout, methodRead, request, answer, codes.NotFound)
}

// ask asks node after node, and those that they hint at, until one answers. also
// reports which failures are worth another attempt here, in addition to those that always are.
func (s *setup) ask(ctx context.Context, nodes []*node, patience, each time.Duration, method string, request, answer proto.Message, also ...codes.Code) error {
	for waited := time.Duration(0); ; waited += betweenTries {
		var last *failure
		queue := slices.Clone(nodes)
		for i := 0; i < len(queue) && i < maxHinted; i++ {
			n := queue[i]
			proto.Reset(answer)
			attempt, cancel := context.WithTimeout(ctx, each)
			f := n.attempt(attempt, method, request, answer)
			cancel()
			if f == nil {
				return nil
			}
			if err := storage.ContextError(ctx); err != nil {
				return err
			}
			if last == nil || !f.retryable() {
				last = f
			}
			if f.Code == codes.Unimplemented {
				return &storage.Error{Code: storage.InvalidArgument, Layer: layer, Err: &f.ServerError, Msg: f.Endpoint + " is not a Ledger server: it does not implement Ledger's methods"}
			}
			if !f.retryable() && f.Code != codes.Internal && !slices.Contains(also, f.Code) {
				return f.storageError()
			}
			if h := s.pool.hint(f.leader()); f.leader() != "" && h != nil && !slices.Contains(queue, h) {
				queue = append(queue, h)
			}
		}
		if waited >= patience {
			e := last.storageError()
			e.Msg = strings.TrimSpace("after " + patience.String() + " of trying " + method[strings.LastIndexByte(method, '/')+1:] + ": " + e.Msg)
			return e
		}
		if err := s.o.Pause(ctx, betweenTries); err != nil {
			return err
		}
	}
}
