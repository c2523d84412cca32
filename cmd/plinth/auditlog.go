package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// auditLog is a hash-chained log in a served store.
type auditLog struct {
	Server overGRPC `embed:""`
	Log    string   `help:"Prefix of the log's keys." default:"audit/"`
}

// none returns the error of a log that is not there.
func (l auditLog) none() error {
	return &exitError{exitNotFound, fmt.Errorf("no audit log at %q of store %q: it has no entries; if one was kept there, it was removed", l.Log, l.Server.Store)}
}

func (l auditLog) with(ctx context.Context, do func(*auth.Chain) error) error {
	return l.Server.with(ctx, func(s *storage.Store) error { return do(auth.NewChain(s, l.Log)) })
}

type auditVerifyCmd struct {
	Audit auditLog `embed:""`
	Known string   `help:"Hash that the log must contain, such as the head printed by an earlier run." placeholder:"HASH" type:"given"`
}

// Help returns the text that "plinth audit verify --help" adds.
func (*auditVerifyCmd) Help() string {
	return `Each entry contains the hash of the previous one, so changed, removed, swapped and inserted entries are detected, and so is a
truncated end. However, a writer with access to the whole store can write a whole new log: keep the head that this
command prints somewhere else, and pass it to the next run with --known.

It exits with 1 if it detects a fault, and with 3 if there is no log at the prefix, whether it was removed or never written.`
}

func (c *auditVerifyCmd) Run(ctx context.Context, e env) error {
	return c.Audit.with(ctx, func(log *auth.Chain) error {
		r, err := log.Verify(ctx, c.Known)
		if errors.Is(err, storage.ErrNotFound) {
			return c.Audit.none()
		}
		if err != nil {
			return err
		}
		out := forPeople(e.stdout)
		for _, n := range r.Open {
			fmt.Fprintf(out, "note: entry %d is an intent without an outcome\n", n)
		}
		for _, f := range r.Faults {
			fmt.Fprintf(out, "fault: %s\n", f)
		}
		fmt.Fprintf(out, "entries: %d\nhead:    %s\n", r.Entries, r.Head)
		if len(r.Faults) > 0 {
			return fmt.Errorf("verification failed: the audit log at %q of store %q was modified", c.Audit.Log, c.Audit.Server.Store)
		}
		return nil
	})
}

type auditListCmd struct {
	Audit auditLog                  `embed:""`
	From  *time.Time                `help:"Only entries from this time on (RFC 3339)." placeholder:"TIME" type:"at"`
	Until *time.Time                `help:"Only entries before this time (RFC 3339)." placeholder:"TIME" type:"at"`
	Actor string                    `help:"Only entries of this actor." type:"given"`
	Org   identity.OrganizationSlug `help:"Only entries of this organization." placeholder:"SLUG" type:"slug"`
	JSON  bool                      `name:"json" help:"Write each entry as a JSON object."`
}

func (c *auditListCmd) matches(e *auth.Entry) bool {
	return (c.From == nil || !e.Time.Before(*c.From)) && (c.Until == nil || e.Time.Before(*c.Until)) &&
		(c.Actor == "" || e.Actor == c.Actor) && (c.Org == 0 || e.Organization == c.Org)
}

func (c *auditListCmd) Run(ctx context.Context, e env) error {
	return c.Audit.with(ctx, func(log *auth.Chain) error {
		out := forPeople(e.stdout)
		any := false
		for entry, err := range log.Entries(ctx, 0) {
			any = true
			switch {
			case err != nil:
				return err
			case !c.matches(&entry):
			case c.JSON:
				if err := json.NewEncoder(e.stdout).Encode(entry); err != nil {
					return err
				}
			default:
				result := entry.Result
				if entry.Reason != "" {
					result += ": " + entry.Reason
				}
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", entry.Time.Format(time.RFC3339), oneLine(entry.Actor), entry.Action, oneLine(entry.Resource()), oneLine(result))
			}
		}
		if !any {
			return c.Audit.none()
		}
		return nil
	})
}

// oneLine keeps text from ending the line or the column that it stands in.
func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s) }
