package etcd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/storage"
)

// healthTime limits how long a look at the cluster may take.
const healthTime = 3 * time.Second

// Health asks the cluster whether it serves the store. Liveness does not; readiness includes
// the figures of a member.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if err := b.enter(ctx); err != nil {
		return storage.Health{}, err
	}
	defer b.leave()
	h := storage.Health{Status: storage.Healthy}
	if p == storage.Liveness {
		return h, nil
	}
	look, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	marker, err := b.ranges(look, &pb.RangeRequest{Key: b.space.marker})
	switch {
	case ctx.Err() != nil:
		return storage.Health{}, storage.ContextError(ctx)
	case err != nil:
		h.Status, h.Reason = storage.Unhealthy, err.Error()
		return h, nil
	case len(marker.Kvs) == 0 || string(marker.Kvs[0].Value) != b.identity:
		h.Status, h.Reason = storage.Unhealthy, fmt.Sprintf("the store at the prefix %q is gone, or was replaced by another: reopen it", b.config.Prefix)
	}
	status, err := b.maintenance.Status(look, &pb.StatusRequest{})
	if err != nil { // of a user who may not ask
		return h, nil
	}
	if h.Status == storage.Healthy && len(status.Errors) > 0 {
		h.Status, h.Reason = storage.Degraded, "the cluster says: "+strings.Join(status.Errors, ", ")
	}
	if p == storage.Readiness {
		h.Details = map[string]string{}
		for name, n := range map[string]int64{
			"db_bytes": status.DbSize, "db_in_use_bytes": status.DbSizeInUse, "db_quota_bytes": status.DbSizeQuota,
			"revision": status.GetHeader().GetRevision(), "raft_term": int64(status.RaftTerm), "raft_behind": int64(status.RaftIndex - status.RaftAppliedIndex),
		} {
			h.Details[name] = strconv.FormatInt(n, 10)
		}
	}
	return h, nil
}
