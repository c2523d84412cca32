package ledgertest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// listEntities returns one page: what follows the token's entity in the server's own
// order and begins with the prefix. The server takes one entity more than asked for,
// drops the expired ones of these, and has a next page only if as many as asked for
// are left.
func (n *Node) listEntities(_ context.Context, r *ledgerpb.ListEntitiesRequest) (*ledgerpb.ListEntitiesResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.KeyPrefix, "_") {
		return nil, plainly(codes.InvalidArgument, "the prefix is reserved")
	}
	limit := int(r.Limit)
	if limit == 0 {
		limit = defaultPage
	}
	after, err := n.readToken(r)
	if err != nil {
		return nil, err
	}
	now, end := n.c.clock(), verify.Buckets
	if n.c.quirks.EmptiedPages {
		end = v.emptied()
	}
	var page []*ledgerpb.Entity
	for e := range v.walk(n.c.quirks.BucketOrder, after) {
		if n.c.quirks.BucketOrder && verify.Bucket(e.Key) > end {
			break
		}
		hidden := !r.IncludeExpired && expired(e, now)
		if !strings.HasPrefix(e.Key, r.KeyPrefix) || hidden && !n.c.quirks.EarlyEnd {
			continue
		}
		if page = append(page, e); len(page) > limit {
			break
		}
	}
	if !r.IncludeExpired {
		page = slices.DeleteFunc(page, func(e *ledgerpb.Entity) bool { return expired(e, now) })
	}
	page = page[:min(len(page), limit)]
	answer := &ledgerpb.ListEntitiesResponse{Entities: page, BlockHeight: v.height}
	if len(page) == limit {
		answer.NextPageToken = n.makeToken(r, page[len(page)-1].Key)
	}
	return answer, nil
}

// makeToken returns a token for what follows an entity.
func (n *Node) makeToken(r *ledgerpb.ListEntitiesRequest, last string) string {
	body := []byte(last)
	if n.c.quirks.BoundTokens {
		body = append(n.seal(r, last), body...)
	}
	return base64.RawURLEncoding.EncodeToString(body)
}

func (n *Node) seal(r *ledgerpb.ListEntitiesRequest, last string) []byte {
	n.mu.Lock()
	mac := hmac.New(sha256.New, n.secret[:])
	n.mu.Unlock()
	fmt.Fprintf(mac, "%d %d %q %t %q", r.Organization.GetSlug(), r.Vault.GetSlug(), r.KeyPrefix, r.IncludeExpired, last)
	return mac.Sum(nil)
}

func (n *Node) readToken(r *ledgerpb.ListEntitiesRequest) (string, error) {
	if r.PageToken == "" {
		return "", nil
	}
	body, err := base64.RawURLEncoding.DecodeString(r.PageToken)
	if err != nil {
		return "", plainly(codes.InvalidArgument, "invalid page token")
	}
	if !n.c.quirks.BoundTokens {
		return string(body), nil
	}
	if len(body) < sha256.Size {
		return "", plainly(codes.InvalidArgument, "invalid page token")
	}
	last := string(body[sha256.Size:])
	if !hmac.Equal(body[:sha256.Size], n.seal(r, last)) {
		return "", plainly(codes.InvalidArgument, "page token does not match request")
	}
	return last, nil
}
