package repository

import (
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// The longest parts of names, in bytes. With them the longest key has less than 512.
const (
	MaxWord = 32  // of a type or relation
	MaxID   = 128 // of an object
	MaxName = 64  // of an organization or vault
)

// Object names something that relationships are about, such as doc:readme or user:ada.
type Object struct{ Type, ID string }

// ParseObject reads TYPE:ID. A type is a lower-case word; an ID is letters, digits and
// ._~@+=- in any order, so that no part of a key contains a separator.
func ParseObject(text string) (Object, error) {
	kind, id, ok := strings.Cut(text, ":")
	if !ok || !isWord(kind) || !isID(id) {
		return Object{}, invalid("object %.40q: must be TYPE:ID, a type of at most %d and an ID of at most %d bytes", text, MaxWord, MaxID)
	}
	return Object{kind, id}, nil
}

// String returns TYPE:ID.
func (o Object) String() string { return o.Type + ":" + o.ID }

// Userset names all subjects that have a relation to an object, such as group:eng#member.
type Userset struct {
	Object   Object
	Relation string
}

// Subject names an object, or with a relation the userset of it.
type Subject Userset

// ParseSubject reads TYPE:ID or TYPE:ID#RELATION.
func ParseSubject(text string) (s Subject, err error) {
	object, relation, ok := strings.Cut(text, "#")
	if ok {
		if s.Relation, err = ParseRelation(relation); err != nil {
			return Subject{}, err
		}
	}
	s.Object, err = ParseObject(object)
	return s, err
}

// String returns the text that ParseSubject reads.
func (s Subject) String() string {
	if s.Relation == "" {
		return s.Object.String()
	}
	return s.Object.String() + "#" + s.Relation
}

// ParseRelation checks the name of a relation, a lower-case word.
func ParseRelation(text string) (string, error) {
	if !isWord(text) {
		return "", invalid("relation %.40q: must be a lower-case word of at most %d bytes", text, MaxWord)
	}
	return text, nil
}

// Relationship says that a subject has a relation to an object.
type Relationship struct {
	Object   Object
	Relation string
	Subject  Subject
}

// ParseRelationship reads its three parts.
func ParseRelationship(object, relation, subject string) (r Relationship, err error) {
	if r.Object, err = ParseObject(object); err != nil {
		return r, err
	}
	if r.Relation, err = ParseRelation(relation); err != nil {
		return r, err
	}
	r.Subject, err = ParseSubject(subject)
	return r, err
}

// checkName checks the name of an organization or vault.
func checkName(name string) error {
	if len(name) == 0 || len(name) > MaxName || !only(name, lower+digits+"-") || name[0] == '-' {
		return invalid("name %.40q: must be 1 to %d lower-case letters, digits and hyphens", name, MaxName)
	}
	return nil
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

func isWord(s string) bool {
	return len(s) > 0 && len(s) <= MaxWord && only(s, lower+digits+"_") && strings.Contains(lower, s[:1])
}

func isID(s string) bool {
	return len(s) > 0 && len(s) <= MaxID && only(s, lower+upper+digits+"._~@+=-")
}

// only reports whether s consists of the bytes of set.
func only(s, set string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) })
}

func invalid(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}
