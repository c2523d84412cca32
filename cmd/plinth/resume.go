package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

// job is what a resume file is for.
type job struct {
	Command string `json:"command"`
	From    string `json:"from"` // a store with its address, or a backup by its checksum
	To      string `json:"to"`   // a store with its address, or a backup by its name
	Prefix  string `json:"-"`    // see resumed
}

// resume records how far a command has come, in a file if there is a name for one. Keys are
// stored in their order, so that the last one says it all.
type resume struct {
	file  string // if empty, it is kept nowhere
	saved time.Time
	resumed
}

// resumed is what the file holds.
type resumed struct {
	Format int `json:"plinth_resume"`
	job
	After  []byte `json:"after"`            // the last key that is stored; nil if none
	Prefix []byte `json:"prefix,omitempty"` // keys need not be text
	Items  int64  `json:"items"`

	At   uint64       `json:"at_version,omitempty"` // of the state that a backup reads
	Part *backup.Mark `json:"part,omitempty"`       // of a backup

	Sum string `json:"checksum"` // of all the other fields; empty while it is computed
}

// encode returns the content of the file.
func (r resumed) encode() ([]byte, error) {
	r.Sum = ""
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	r.Sum = fmt.Sprintf("%08x", crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli)))
	raw, err = json.Marshal(r)
	return append(raw, '\n'), err
}

// resumeFormat is the version of the file's form.
const resumeFormat = 2

// mostResume bounds the file: a key in base64, and names.
const mostResume = 4 << 20

// How often the file is written. What was stored since then is stored again.
const everySave = time.Second

// begin reads the file, if it exists, or makes it. again reports whether the job goes on.
func begin(file string, j job) (r *resume, again bool, err error) {
	r = &resume{file: file, resumed: resumed{Format: resumeFormat, job: j, Prefix: []byte(j.Prefix)}}
	if file == "" {
		return r, false, nil
	}
	had, err := load(file, j)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, r.save()
	}
	return had, true, err
}

// load reads the file of a job.
func load(file string, j job) (*resume, error) {
	raw, err := readFile(file, mostResume)
	if err != nil {
		return nil, fmt.Errorf("--resume: %w", err)
	}
	var had resumed
	switch err := json.Unmarshal(raw, &had); {
	case len(raw) == 0:
		return nil, fmt.Errorf("--resume: %s is empty", file)
	case had.Format > resumeFormat:
		return nil, fmt.Errorf("--resume: %s has format %d, and this version of plinth reads format %d", file, had.Format, resumeFormat)
	case err != nil || had.Format != resumeFormat:
		return nil, fmt.Errorf("--resume: %s is not a resume file of this version of plinth", file)
	}
	if whole, err := had.encode(); err != nil || !bytes.Equal(whole, raw) {
		return nil, fmt.Errorf("--resume: %s is damaged: its checksum does not match", file)
	}
	had.job.Prefix = string(had.Prefix)
	if had.job != j {
		return nil, fmt.Errorf("--resume: %s belongs to another job: %s from %s to %s", file, had.Command, had.From, had.To)
	}
	return &resume{file: file, resumed: had}, nil
}

// readFile reads a file of at most so many bytes.
func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s exceeds %d bytes", name, most)
	}
	return raw, err
}

// stored takes note of ops that are stored.
func (r *resume) stored(ops []storage.Op) error {
	r.After = append([]byte{}, ops[len(ops)-1].Key...)
	r.Items += int64(len(ops))
	if r.file == "" || time.Since(r.saved) < everySave {
		return nil
	}
	return r.save()
}

// save replaces the file, whole.
func (r *resume) save() error {
	raw, err := r.encode()
	if err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(r.file), "."+filepath.Base(r.file)+".*.part") // with mode 0600
	if err != nil {
		return fmt.Errorf("record progress: %w", err)
	}
	_, err = part.Write(raw)
	if err = errors.Join(err, part.Sync(), part.Close()); err == nil {
		err = os.Rename(part.Name(), r.file)
	}
	if err != nil {
		return fmt.Errorf("record progress: %w", errors.Join(err, os.Remove(part.Name())))
	}
	r.saved = time.Now()
	return nil
}

// end removes the file of a job that is done, or else has the error say where to go on.
func (r *resume) end(err error, otherwise string) error {
	switch {
	case err == nil && r.file == "":
		return nil
	case err == nil:
		return os.Remove(r.file)
	case r.file == "":
		return fmt.Errorf("%w; %d items were stored: %s", err, r.Items, otherwise)
	}
	return errors.Join(fmt.Errorf("%w; %d items were stored: run the same command with --resume %s to continue", err, r.Items, r.file), r.save())
}

var errInterrupted = errors.New("interrupted")

// ended returns err, or a plain word for it where a signal is behind it.
func ended(done <-chan struct{}, err error) error {
	select {
	case <-done:
		if err != nil {
			return errInterrupted
		}
	default:
	}
	return err
}
