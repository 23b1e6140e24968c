package apitest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Hold is h, whose every answer is held to the contract when t ends: what differs fails
// it. Nothing is looked at while the test runs, since an answer is with its visitor only
// when its handler has returned, and tests of crowds measure that. prefix stands in front
// of every path.
func (s *Shop) Hold(t testing.TB, prefix string, h http.Handler) http.Handler {
	t.Helper()
	var mu sync.Mutex
	var said []Answer
	t.Cleanup(func() { // registered before a server's own, so it runs behind its last request
		mu.Lock()
		defer mu.Unlock()
		wrong := 0
		for _, a := range said {
			err := s.Check(a)
			if err == nil {
				continue
			}
			if wrong++; wrong > 5 { // a crowd may hear the same thousands of times
				t.Error("and further answers")
				break
			}
			t.Errorf("against api/openapi.yaml: %v", err)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Header.Clone()
		sent := &tee{from: r.Body}
		r = r.WithContext(r.Context()) // a copy
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = sent
		}
		out := &recorder{ResponseWriter: w}
		h.ServeHTTP(out, r)
		if out.status == 0 {
			out.WriteHeader(http.StatusOK) // as net/http does for who writes nothing
		}
		path, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		if !ok {
			return // a page's
		}
		mu.Lock()
		defer mu.Unlock()
		said = append(said, Answer{Method: r.Method, Path: path, Query: r.URL.Query(), Asked: asked, Sent: sent.read.Bytes(),
			Status: out.status, Header: out.header, Body: out.body.Bytes(), Torn: out.torn})
	})
}

// tee keeps what is read of a body. It is owned by the request's handler.
type tee struct {
	from io.ReadCloser
	read bytes.Buffer
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.from.Read(b)
	t.read.Write(b[:n])
	return n, err
}

func (t *tee) Close() error { return t.from.Close() }

// recorder keeps what is written. It is owned by the request's handler.
type recorder struct {
	http.ResponseWriter
	status int
	header http.Header // as it was sent
	body   bytes.Buffer
	torn   bool // a write failed
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status, r.header = status, r.Header().Clone()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	n, err := r.ResponseWriter.Write(b)
	if r.torn = r.torn || err != nil; r.torn {
		r.body = bytes.Buffer{} // nobody has it whole
	} else {
		r.body.Write(b)
	}
	return n, err
}

// Unwrap leads http.ResponseController to deadlines and flushes.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
