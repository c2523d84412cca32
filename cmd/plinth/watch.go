package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// watchEvery is how often files are looked at that have a change follow theirs.
const watchEvery = 500 * time.Millisecond

// watch calls do whenever what files look like has changed, and has been the same in two
// looks, so that a file that is still being written is not read. It looks at what names lead
// to: a link that leads elsewhere is a change too.
func watch(ctx context.Context, every time.Duration, look func() string, do func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	done := look()
	last := done
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := look()
		if now == last && now != done {
			done = now
			do()
			done, now = look(), look() // also of files that the change brought in
			if done != now {
				done = ""
			}
		}
		last = now
	}
}

// watchConfig reloads when the file of the configuration, one that it refers to, or one of a
// plugin has changed.
func (r *reloader) watchConfig(ctx context.Context) {
	var seen digests
	look := func() string {
		cfg := r.host.Config()
		return seen.of(append(cfg.References(""), cfg.File())) + states(r.host.Files())
	}
	watch(ctx, watchEvery, look, func() { _, _ = r.reload(ctx) }) // the host says in the log what came of it
}

// watchTokens takes up tokens whose file has changed.
func (r *reloader) watchTokens(ctx context.Context) {
	var seen digests
	look := func() string {
		cfg := r.host.Config()
		return seen.of(append(cfg.References("server.token"), cfg.References("server.admin_token")...))
	}
	watch(ctx, watchEvery, look, func() {
		if err := r.tokens(); err != nil {
			r.log.Error("the changed token is not used: the one before stays", "error", err)
			return
		}
		r.log.Info("the token was changed")
	})
}

// digests are those of files, which are small, by their paths. A file is read again only when
// it may have changed: it may hold a secret, and each read makes copies of it.
type digests map[string]digested

type digested struct {
	info   fs.FileInfo
	digest string
	at     time.Time
}

// settles is how long after a change a file may change again without another time.
const settles = 2 * time.Second

func (d *digests) of(paths []string) string {
	if *d == nil {
		*d = digests{}
	}
	var b strings.Builder
	slices.Sort(paths)
	for _, path := range paths {
		if path != "" {
			fmt.Fprintf(&b, "%s %s\n", path, d.digest(path))
		}
	}
	return b.String()
}

func (d *digests) digest(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		delete(*d, path)
		return err.Error()
	}
	if !info.Mode().IsRegular() {
		return "no file"
	}
	was, known := (*d)[path]
	if known && os.SameFile(was.info, info) && was.info.Size() == info.Size() && was.info.ModTime().Equal(info.ModTime()) &&
		was.at.Sub(info.ModTime()) > settles {
		return was.digest
	}
	now := digested{info: info, at: time.Now()}
	if now.digest, err = digest(path); err != nil {
		return err.Error()
	}
	(*d)[path] = now
	return now.digest
}

// mostWatched is how much of a file counts, in bytes: no file of a configuration is larger.
const mostWatched = 4 << 20

// digest reads a file, and leaves nothing of it in memory.
func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buffer := make([]byte, 32<<10)
	defer clear(buffer)
	if _, err := io.CopyBuffer(h, io.LimitReader(f, mostWatched), buffer); err != nil {
		return "", err
	}
	sum := fmt.Sprintf("%x", h.Sum(nil))
	h.Reset()
	_, _ = h.Write(make([]byte, h.BlockSize()-1)) // over the part of a block that it keeps
	return sum, nil
}

// states returns size and time of files, which may be large.
func states(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s %v\n", path, err)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}
