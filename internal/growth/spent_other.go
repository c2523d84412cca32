//go:build !unix

package growth

import "time"

var begun = time.Now()

// spent returns how long this process has run: there is no better measure here.
func spent() time.Duration { return time.Since(begun) }
