package psp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLine bounds a line of the journal: an entry has three keys of 64 bytes and some words.
const maxLine = 4096

// journal is a file of entries, one line of JSON each, that is only appended to. Entries
// of several acts at once go to the disk together: whoever comes while a write is under
// way is in the next one.
type journal struct {
	file *os.File

	mu      sync.Mutex
	pending bytes.Buffer // entries that are not written; guarded by mu
	last    int64        // number of the last entry in it, or before it; guarded by mu

	// Held by the one who writes. It is taken before mu.
	writing sync.Mutex
	durable int64 // the last entry on disk
	err     error // the first that a write met: the file's end is unknown, so it is the last
}

// openJournal opens or makes a file, hands every entry to apply, and cuts off a last line
// that a kill left unfinished: nobody was told of it. A line that can't be read before the
// last is an error, with its number.
func openJournal(name string, apply func(Entry) error) (*journal, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.read(apply); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return j, nil
}

func (j *journal) read(apply func(Entry) error) error {
	if err := lock(j.file); err != nil {
		return fmt.Errorf("another process writes it: %w", err)
	}
	lines := bufio.NewReaderSize(j.file, maxLine)
	whole := int64(0) // bytes of the lines that are
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case errors.Is(err, io.EOF):
			if err := j.file.Truncate(whole); err != nil {
				return err
			}
			return j.file.Sync()
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d: longer than %d bytes", n, maxLine)
		case err != nil:
			return err
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := apply(e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line))
		j.last, j.durable = e.N, e.N
	}
}

// append notes an entry, in the order of the calls.
func (j *journal) append(e Entry) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // of numbers and strings: it can't fail
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending.Write(line)
	j.pending.WriteByte('\n')
	j.last = e.N
}

// commit returns when entry n and all before it are on disk.
func (j *journal) commit(n int64) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.err != nil || j.durable >= n {
		return j.err
	}
	j.mu.Lock()
	text, last := bytes.Clone(j.pending.Bytes()), j.last
	j.pending.Reset()
	j.mu.Unlock()
	if _, j.err = j.file.Write(text); j.err == nil {
		j.err = j.file.Sync()
	}
	if j.err == nil {
		j.durable = last
	}
	return j.err
}

// close closes the file. What was told is in it.
func (j *journal) close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.err == nil {
		j.err = os.ErrClosed
	}
	return j.file.Close()
}
