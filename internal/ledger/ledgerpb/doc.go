// Package ledgerpb is generated from plugins/ledger/proto: the messages of the part
// of InferaDB Ledger's protocol that the ledger plugin uses.
//
// tools/generate-proto.sh writes everything here but this file.
package ledgerpb
