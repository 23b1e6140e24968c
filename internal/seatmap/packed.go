package seatmap

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
)

// packed is one body as it is sent, plain and compressed; never changed.
type packed struct{ plain, zip []byte }

func pack(b []byte, level int) packed {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, level) // one of gzip's
	_, _ = w.Write(b)                      // a Buffer takes everything
	_ = w.Close()
	return packed{plain: b, zip: z.Bytes()}
}

// send writes the body as the visitor can read it, or 304 where it has it already.
func (p packed) send(w http.ResponseWriter, r *http.Request, etag string) {
	h := w.Header()
	h.Set("ETag", etag)
	h.Add("Vary", "Accept-Encoding")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := p.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = p.zip
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a failed write means that the client went away
}

// matches compares as RFC 9110 (13.1.2) asks: weakly, any of a list.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") && one != "" {
			return true
		}
	}
	return false
}
