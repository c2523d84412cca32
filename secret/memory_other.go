//go:build !unix

package secret

func allocate(n int) []byte { return make([]byte, n) }

func free(b []byte) { clear(b) }
