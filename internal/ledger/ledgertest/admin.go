package ledgertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// check returns the node's health: of a request as clients send it.
func (n *Node) check(context.Context, *ledgerpb.HealthCheckRequest) (*ledgerpb.HealthCheckResponse, error) {
	n.c.mu.Lock()
	initialized := n.c.initialized
	n.c.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := &ledgerpb.HealthCheckResponse{Status: n.health, Details: map[string]string{"phase": "ready"}}
	switch {
	case !initialized:
		answer.Status, answer.Details["phase"] = ledgerpb.HealthStatus_HEALTH_STATUS_DEGRADED, "starting"
	case answer.Status == ledgerpb.HealthStatus_HEALTH_STATUS_UNSPECIFIED:
		answer.Status = ledgerpb.HealthStatus_HEALTH_STATUS_HEALTHY
	}
	return answer, nil
}

func (n *Node) initCluster(context.Context, *ledgerpb.InitClusterRequest) (*ledgerpb.InitClusterResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	answer := &ledgerpb.InitClusterResponse{Initialized: true, ClusterId: 7, AlreadyInitialized: n.c.initialized}
	n.c.initialized = true
	return answer, nil
}

func (n *Node) getNodeInfo(context.Context, *ledgerpb.GetNodeInfoRequest) (*ledgerpb.GetNodeInfoResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	answer := &ledgerpb.GetNodeInfoResponse{NodeId: n.id, Address: n.address, State: "uninitialized"}
	if n.c.initialized {
		answer.State, answer.IsClusterMember, answer.ClusterId, answer.Term = "running", true, 7, uint64(n.c.term)
	}
	return answer, nil
}

func (n *Node) getClusterInfo(context.Context, *ledgerpb.GetClusterInfoRequest) (*ledgerpb.GetClusterInfoResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	answer := &ledgerpb.GetClusterInfoResponse{Term: uint64(n.c.term), LeaderId: n.c.nodes[n.c.leader].id}
	for i, member := range n.c.nodes {
		answer.Members = append(answer.Members, &ledgerpb.ClusterMember{NodeId: member.id, Address: member.address,
			Role: ledgerpb.ClusterMemberRole_CLUSTER_MEMBER_ROLE_VOTER, IsLeader: i == n.c.leader})
	}
	return answer, nil
}

func (n *Node) provisionRegion(_ context.Context, r *ledgerpb.ProvisionRegionRequest) (*ledgerpb.ProvisionRegionResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.leads(); err != nil {
		return nil, err
	}
	if r.Name == "" || r.Name == "global" || r.RequiresResidency {
		return nil, refuse(codes.InvalidArgument, "3203", "not a region that can be provisioned")
	}
	created := !n.c.regions[r.Name]
	n.c.regions[r.Name] = true
	return &ledgerpb.ProvisionRegionResponse{Created: created, Name: r.Name}, nil
}

func (n *Node) showVault(_ context.Context, r *ledgerpb.ShowVaultRequest) (*ledgerpb.ShowVaultResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	return &ledgerpb.ShowVaultResponse{Info: &ledgerpb.VaultInfo{Slug: &ledgerpb.VaultSlug{Slug: n.c.names[v.ids]}, Status: "active"},
		Region: Region, OrganizationId: uint64(v.ids.Organization), VaultId: uint64(v.ids.Vault)}, nil
}

// getVault carries the slug of the record that the numbers lead to, and no height.
func (n *Node) getVault(_ context.Context, r *ledgerpb.GetVaultRequest) (*ledgerpb.GetVaultResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	return &ledgerpb.GetVaultResponse{Organization: r.Organization, Vault: &ledgerpb.VaultSlug{Slug: n.c.names[v.ids]}}, nil
}

func (n *Node) initiateEmailVerification(_ context.Context, r *ledgerpb.InitiateEmailVerificationRequest) (*ledgerpb.InitiateEmailVerificationResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.leads(); err != nil {
		return nil, err
	}
	_, domain, ok := strings.Cut(r.Email, "@")
	if !ok || !strings.Contains(domain, ".") {
		return nil, refuse(codes.InvalidArgument, "3203", "invalid e-mail")
	}
	if !n.c.regions[r.Region] {
		return nil, refuse(codes.Unavailable, "2000", "the region has no leader")
	}
	code := make([]byte, 3)
	rand.Read(code)
	n.c.onboarding[r.Email] = strings.ToUpper(hex.EncodeToString(code))
	return &ledgerpb.InitiateEmailVerificationResponse{Code: n.c.onboarding[r.Email]}, nil
}

func (n *Node) verifyEmailCode(_ context.Context, r *ledgerpb.VerifyEmailCodeRequest) (*ledgerpb.VerifyEmailCodeResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.leads(); err != nil {
		return nil, err
	}
	if r.Code == "" || n.c.onboarding[r.Email] != r.Code {
		return nil, refuse(codes.InvalidArgument, "3203", "wrong code")
	}
	if n.c.registered[r.Email] {
		return &ledgerpb.VerifyEmailCodeResponse{Result: &ledgerpb.VerifyEmailCodeResponse_ExistingUser{
			ExistingUser: &ledgerpb.ExistingUser{User: &ledgerpb.UserSlug{Slug: User}}}}, nil
	}
	return &ledgerpb.VerifyEmailCodeResponse{Result: &ledgerpb.VerifyEmailCodeResponse_NewUser{
		NewUser: &ledgerpb.NewUser{OnboardingToken: "token for " + r.Email}}}, nil
}

// completeRegistration returns no organization for an e-mail that is known already.
func (n *Node) completeRegistration(_ context.Context, r *ledgerpb.CompleteRegistrationRequest) (*ledgerpb.CompleteRegistrationResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.leads(); err != nil {
		return nil, err
	}
	if r.OnboardingToken != "token for "+r.Email {
		return nil, refuse(codes.InvalidArgument, "3203", "wrong token")
	}
	answer := &ledgerpb.CompleteRegistrationResponse{User: &ledgerpb.User{Slug: &ledgerpb.UserSlug{Slug: User}}}
	if !n.c.registered[r.Email] {
		n.c.registered[r.Email] = true
		slug := Organization + 1000*uint64(len(n.c.organizations)+1)
		n.c.organizations[slug] = int64(len(n.c.organizations) + 1)
		answer.Organization = &ledgerpb.OrganizationSlug{Slug: slug}
	}
	return answer, nil
}

func (n *Node) createVault(_ context.Context, r *ledgerpb.CreateVaultRequest) (*ledgerpb.CreateVaultResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.leads(); err != nil {
		return nil, err
	}
	if _, ok := n.c.organizations[r.Organization.GetSlug()]; !ok {
		return nil, refuse(codes.NotFound, "3100", "organization not found")
	}
	if r.Slug.GetSlug() == 0 {
		return nil, refuse(codes.InvalidArgument, "3203", "slug is required")
	}
	if _, ok := n.c.slugs[r.Slug.GetSlug()]; !ok {
		n.c.addVault(r.Organization.GetSlug(), r.Slug.GetSlug())
	}
	return &ledgerpb.CreateVaultResponse{Vault: r.Slug, Genesis: &ledgerpb.BlockHeader{}}, nil
}

// resolveRegionLeader is answered by any node. Every vault is of the one region.
func (n *Node) resolveRegionLeader(_ context.Context, r *ledgerpb.ResolveRegionLeaderRequest) (*ledgerpb.ResolveRegionLeaderResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if r.Region != Region && !n.c.regions[r.Region] {
		return nil, plainly(codes.NotFound, "region not found")
	}
	return &ledgerpb.ResolveRegionLeaderResponse{Endpoint: n.c.nodes[n.c.leader].advertised(), RaftTerm: uint64(n.c.term), TtlSeconds: 10}, nil
}
