// Package api holds the contracts of waitroom as machines read them: OpenAPI of the shop,
// AsyncAPI of the line's WebSocket and of Kafka, and a JSON Schema of each event. They are
// files, embedded, and a booker serves them with a page that shows the shop's.
//
// It promises that they are what is really said: package apitest holds every answer that
// the shop's tests provoke, every message and every event to them, and what they name to
// what was met.
package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// noTime: what is embedded has no date; its ETag says what it is.
var noTime time.Time

//go:embed openapi.yaml openapi.json asyncapi.yaml schemas/*.json page/index.html page/page.js page/page.css page/*.gz page/*.txt
var files embed.FS

// File is one contract by its name, such as openapi.json or schemas/waitroom.admitted.v1.json.
func File(name string) ([]byte, error) { return files.ReadFile(name) }

// Schemas are the names of the events that have a schema.
func Schemas() []string {
	list, _ := fs.Glob(files, "schemas/*.json") // the pattern is valid
	for i, name := range list {
		list[i] = strings.TrimSuffix(path.Base(name), ".json")
	}
	return list
}

var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".yaml": "application/yaml", ".txt": "text/plain; charset=utf-8",
}

// policy is the CSP of the pages in web: the library that the page is shown with gets no
// more rights than they have.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'" +
	"; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler answers {prefix}/api/ with the page, what it loads and the contracts; any other
// path is next's. It has no goroutine.
func Handler(prefix string, next http.Handler) http.Handler {
	mux := http.NewServeMux()
	root := prefix + "/api/"
	mux.Handle("/", next)
	serve := func(name string, f file) { mux.Handle("GET "+root+name, f) }
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error { // what is embedded can be read
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		switch at := strings.TrimPrefix(name, "page/"); path.Ext(at) {
		case ".gz":
			at = strings.TrimSuffix(at, ".gz")
			serve(at, newFile(kinds[path.Ext(at)], nil, b))
		case ".html":
			serve("{$}", newFile(kinds[".html"], b, nil))
		default:
			serve(at, newFile(kinds[path.Ext(at)], b, nil))
		}
		return err
	})
	return mux
}

// file is one body as it is sent; set once.
type file struct {
	kind, etag string
	plain, zip []byte // one may be nil: the library is kept packed, the rest is small
}

func newFile(kind string, plain, zip []byte) file {
	sum := sha256.Sum256(append(plain, zip...))
	return file{kind: kind, etag: `W/"` + hex.EncodeToString(sum[:8]) + `"`, plain: plain, zip: zip}
}

// ServeHTTP sends the body, or 304 where it is known. A browser asks each time: there is
// no version in its address, and who reads documentation does not do it often.
func (f file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.etag)
	h.Set("Content-Type", f.kind)
	if f.zip == nil {
		http.ServeContent(w, r, "", noTime, bytes.NewReader(f.plain))
		return
	}
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		http.ServeContent(w, r, "", noTime, bytes.NewReader(f.zip))
		return
	}
	http.ServeContent(w, r, "", noTime, bytes.NewReader(unpacked(f.zip)))
}

// unpacked is for the rare visitor who cannot read a packed body: it costs 5 ms.
func unpacked(zip []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(zip))
	if err != nil {
		return nil // what is embedded is whole: a test reads it
	}
	b, _ := io.ReadAll(r)
	return b
}
