// Package abipb is the generated codec of the messages in abi/proto, for the
// carriers that speak gRPC. Nothing else may use it: guests and frames have the
// codec of package abi, which emits the same bytes without reflection.
//
// tools/generate-proto.sh writes everything here but this file.
package abipb
