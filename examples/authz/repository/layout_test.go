package repository

import (
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Whatever is accepted as a relationship is one key by its object and one by its subject,
// from which it can be read again; so no two share a key.
func FuzzRelationship(f *testing.F) {
	for _, r := range [][3]string{
		{"doc:readme", "viewer", "user:ada"}, {"doc:readme", "viewer", "group:eng#member"}, {"doc:a@b.c", "v", "user:~._@+=-"},
		{"doc:a/b", "viewer", "user:ada"}, {"doc:a", "viewer", "user:a#"}, {"doc:a\x00", "viewer", "user:a"}, {"doc:a", "viewer", "user:ä"},
		{"doc:" + strings.Repeat("x", MaxID), strings.Repeat("r", MaxWord), "user:" + strings.Repeat("y", MaxID+1)},
		{strings.Repeat("t", MaxWord) + ":" + strings.Repeat("x", MaxID), strings.Repeat("r", MaxWord), strings.Repeat("s", MaxWord) + ":" + strings.Repeat("y", MaxID) + "#" + strings.Repeat("q", MaxWord)},
	} {
		f.Add(r[0], r[1], r[2])
	}
	id := VaultID{1<<64 - 1, 1<<64 - 1}
	f.Fuzz(func(t *testing.T, object, relation, subject string) {
		r, err := ParseRelationship(object, relation, subject)
		if err != nil {
			if storage.CodeOf(err) != storage.InvalidArgument || len(err.Error()) > 400 {
				t.Errorf("%v", err)
			}
			return
		}
		if r.Object.String() != object || r.Relation != relation || r.Subject.String() != subject {
			t.Errorf("%q %q %q is read as %v", object, relation, subject, r)
		}
		for _, c := range []struct {
			key   []byte
			parse func([]byte) (Relationship, error)
		}{{id.objectKey(&r), id.parseObjectKey}, {id.subjectKey(&r), id.parseSubjectKey}} {
			if len(c.key) > 512 {
				t.Errorf("a key of %d bytes", len(c.key))
			}
			if again, err := c.parse(c.key); err != nil || again != r {
				t.Errorf("%s is read as %v, %v", c.key, again, err)
			}
			if !strings.HasPrefix(string(c.key), id.relationships()) {
				t.Errorf("%s is not in its vault", c.key)
			}
		}
	})
}

// Keys of another form are an error, and no panic.
func TestForeignKeys(t *testing.T) {
	id := VaultID{7, 8}
	for _, rest := range []string{"", "/", "a/b/c/d/e", "a/b/c/x/e/f", "a/b/c/d/e/f/g", "a/b/c/u/e/f", "a/b/c/u/e/f/g/h"} {
		if r, err := id.parseObjectKey([]byte(id.byObject() + rest)); storage.CodeOf(err) != storage.Serialization {
			t.Errorf("%q by object: %v, %v", rest, r, err)
		}
	}
	for _, rest := range []string{"", "a/b/c/d/e", "a/b/c/d/e/f/g"} {
		if r, err := id.parseSubjectKey([]byte(id.bySubject() + rest)); storage.CodeOf(err) != storage.Serialization {
			t.Errorf("%q by subject: %v, %v", rest, r, err)
		}
	}
}

// A store that cannot keep what is promised is refused at the start, with what is missing.
func TestCheckStore(t *testing.T) {
	whole := storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})
	defer whole.Close(t.Context())
	if err := CheckStore(whole); err != nil {
		t.Error(err)
	}
	if err := CheckStore(storage.New(less{}, storage.Settings{})); err == nil || !strings.Contains(err.Error(), "versions") {
		t.Errorf("%v", err)
	}
}

type less struct{ storage.UnimplementedBackend }
