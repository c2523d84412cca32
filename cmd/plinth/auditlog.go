package main

import (
	"context"
	"encoding/json"
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
	Log    string   `help:"What the keys of the log begin with." default:"audit/"`
}

func (l auditLog) with(ctx context.Context, do func(*auth.Chain) error) error {
	return l.Server.with(ctx, func(s *storage.Store) error { return do(auth.NewChain(s, l.Log)) })
}

type auditVerifyCmd struct {
	Audit auditLog `embed:""`
	Known string   `help:"The hash of an entry that was noted before, such as the head of an earlier run: it has to be in the log." placeholder:"HASH"`
}

// Help is what "plinth audit verify --help" adds.
func (*auditVerifyCmd) Help() string {
	return `Each entry has the hash of the one before. What was changed, removed, swapped or put between is found, and so is an
end that was cut off. Who can write to the whole store can write a whole new log, though: note the head that this
command prints somewhere else, and give it to the next run with --known.`
}

func (c *auditVerifyCmd) Run(ctx context.Context, e env) error {
	return c.Audit.with(ctx, func(log *auth.Chain) error {
		r, err := log.Verify(ctx, c.Known)
		if err != nil {
			return err
		}
		out := forPeople(e.stdout)
		for _, n := range r.Open {
			fmt.Fprintf(out, "note: entry %d is an intent of which nothing says what came of it\n", n)
		}
		for _, f := range r.Faults {
			fmt.Fprintf(out, "fault: %s\n", f)
		}
		fmt.Fprintf(out, "entries: %d\nhead:    %s\n", r.Entries, r.Head)
		if len(r.Faults) > 0 {
			return fmt.Errorf("the log is not what was written")
		}
		return nil
	})
}

type auditListCmd struct {
	Audit auditLog                  `embed:""`
	From  *time.Time                `help:"Only from then on, as RFC 3339." placeholder:"TIME"`
	Until *time.Time                `help:"Only before then, as RFC 3339." placeholder:"TIME"`
	Actor string                    `help:"Only of this actor."`
	Org   identity.OrganizationSlug `help:"Only of this organization."`
	JSON  bool                      `name:"json" help:"Write each entry as a JSON object."`
}

func (c *auditListCmd) matches(e *auth.Entry) bool {
	return (c.From == nil || !e.Time.Before(*c.From)) && (c.Until == nil || e.Time.Before(*c.Until)) &&
		(c.Actor == "" || e.Actor == c.Actor) && (c.Org == 0 || e.Organization == c.Org)
}

func (c *auditListCmd) Run(ctx context.Context, e env) error {
	return c.Audit.with(ctx, func(log *auth.Chain) error {
		out := forPeople(e.stdout)
		for entry, err := range log.Entries(ctx, 0) {
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
		return nil
	})
}

// oneLine keeps text from ending the line or the column that it stands in.
func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s) }
