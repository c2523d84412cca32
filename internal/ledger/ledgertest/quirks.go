package ledgertest

import "time"

// Quirks selects unexpected behaviours of the real server. The zero value is a server
// without them; [Real] has those of the real one. Expiries in whole seconds are not among
// them, because seconds are the unit of the field: with a more precise clock, the same
// entities would have expired.
type Quirks struct {
	// BucketOrder lists entities by the hash of their key, not by the key.
	BucketOrder bool
	// BoundTokens makes a page token good for the node and the filters that it was
	// made for, and only until the node starts again.
	BoundTokens bool
	// EarlyEnd ends a listing that leaves out expired entities at the first page of
	// which too many were.
	EarlyEnd bool
	// Audit leaves an entity of the server's own in the vault with every write.
	Audit bool
	// RawDetails puts ErrorDetails where gRPC has its own Status.
	RawDetails bool
	// Redirect makes followers refuse what is the leader's, with a hint; otherwise
	// they pass it on.
	Redirect bool
	// MaxOps refuses writes of more operations.
	MaxOps bool
	// StaleConditions judges conditions by entities that have expired, until they
	// are collected.
	StaleConditions bool
	// Collection removes expired entities every [CollectEvery], and not all of them.
	Collection bool
	// ForgetfulFollowers makes a new leader know only the last key of each client.
	ForgetfulFollowers bool
	// UncheckedVault looks a vault up without the organization it belongs to.
	UncheckedVault bool
	// EmptyProofs gives Merkle proofs without anything in them.
	EmptyProofs bool
	// RandomTxID answers a write with another transaction's name than that of its
	// block.
	RandomTxID bool
	// ShortDeadlines refuses a write that has less than [LeastLeft].
	ShortDeadlines bool
	// SmallPages refuses a write with an entity that does not fit a page of 16 KiB:
	// there are no overflow pages.
	SmallPages bool
	// Unarchived acknowledges blocks of more than 16 KiB without keeping them, and returns
	// a GetTip without hashes if the newest block is not there.
	Unarchived bool
	// EmptiedPages ends every list at a page of the tree that deletes have emptied.
	EmptiedPages bool
	// NotFoundBefore returns NotFound, not Unavailable, from a node that was never
	// initialised.
	NotFoundBefore bool
	// BareHints leaves the endpoint out of every other refusal of a follower.
	BareHints bool
	// LosesOrganization makes a cluster of one node forget its organizations when the
	// node restarts: it answers reads with nothing and takes no write.
	LosesOrganization bool
}

// Real returns the quirks of the real server, except LosesOrganization, with which no other
// test could run.
func Real() Quirks {
	return Quirks{
		BucketOrder: true, BoundTokens: true, EarlyEnd: true, Audit: true, RawDetails: true, Redirect: true, MaxOps: true,
		StaleConditions: true, Collection: true, ForgetfulFollowers: true, UncheckedVault: true, EmptyProofs: true, RandomTxID: true,
		ShortDeadlines: true, SmallPages: true, Unarchived: true, EmptiedPages: true, NotFoundBefore: true, BareHints: true,
	}
}

// What the server has by numbers.
const (
	CollectEvery   = 60 * time.Second
	collectMost    = 1000 // removals of a vault in one collection
	collectLook    = 2000 // entities that a collection looks at
	maxOps         = 1000 // of a Write
	maxBatch       = 1000 // keys of a BatchRead
	maxKey         = 1024 // bytes of an entity's key
	maxValue       = 10 << 20
	pageSize       = 16 << 10
	maxEntity      = 16_074 // bytes of key and value that fit a page alone
	maxArchived    = 16 << 10
	maxBlocks      = 1000 // of a GetBlockRange
	defaultPage    = 100
	keyMemory      = 24 * time.Hour // how long the key of a write is known
	keysRemembered = 100_000        // of all clients, by the leader
	LeastLeft      = 100 * time.Millisecond
)
