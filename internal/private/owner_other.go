//go:build !unix

package private

import "os"

func ownedByUs(string, os.FileInfo) error { return nil }
