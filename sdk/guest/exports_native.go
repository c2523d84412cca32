//go:build !wasip1

package guest

import "log/slog"

// Outside a module there is no host: this is how the package is tested.

func hostLog(slog.Level, []byte) {}

func limitMemory(int64) {}

func limitHeap(int64) {}
