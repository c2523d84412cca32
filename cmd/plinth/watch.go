package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	look := func() string {
		cfg := r.host.Config()
		return contents(append(cfg.References(""), cfg.File())) + states(r.host.Files())
	}
	watch(ctx, watchEvery, look, func() { _, _ = r.reload(ctx) }) // the host says in the log what came of it
}

// watchTokens takes up tokens whose file has changed.
func (r *reloader) watchTokens(ctx context.Context) {
	look := func() string {
		cfg := r.host.Config()
		return contents(append(cfg.References("server.token"), cfg.References("server.admin_token")...))
	}
	watch(ctx, watchEvery, look, func() {
		if err := r.tokens(); err != nil {
			r.log.Error("the changed token is not used: the one before stays", "error", err)
			return
		}
		r.log.Info("the token was changed")
	})
}

// contents returns digests of files, which are small.
func contents(paths []string) string {
	var b strings.Builder
	slices.Sort(paths)
	for _, path := range paths {
		fmt.Fprintf(&b, "%s %s\n", path, digest(path))
	}
	return b.String()
}

// mostWatched is how much of a file counts, in bytes: no file of a configuration is larger.
const mostWatched = 4 << 20

func digest(path string) string {
	if path == "" {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("no file")).Error()
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, mostWatched)); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
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
