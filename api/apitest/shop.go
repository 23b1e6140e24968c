package apitest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Shop is the OpenAPI contract, and what of it was met. It is safe for concurrent use.
type Shop struct {
	doc *document

	mu   sync.Mutex
	seen map[[32]byte]error // answers that were looked at, by their sum: crowds of tests hear the same; guarded by mu
}

// NewShop reads the contract of the shop.
func NewShop() (*Shop, error) {
	doc, err := load("openapi.yaml")
	return &Shop{doc: doc, seen: map[[32]byte]error{}}, err
}

// problem is the media type of every refusal.
const problem = "application/problem+json"

// Answer is a request and what was answered.
type Answer struct {
	Method, Path string // escaped, without the prefix
	Query        url.Values
	Asked        http.Header
	Sent         []byte // the body of the request, as far as it was read
	Status       int
	Header       http.Header
	Body         []byte
	Torn         bool // the answer was not written whole, since its visitor went
}

// unsaidHeaders are what no contract lists: what the transport says of itself, and
// Content-Type, which stands above the body. Connection goes from hop to hop (RFC 9110,
// 7.6.1).
var unsaidHeaders = []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date"}

// Check says in what an answer differs from the contract.
func (s *Shop) Check(a Answer) error {
	path, item := s.find(a.Path)
	where := []string{"paths", path}
	switch {
	case item == nil:
		if !strings.HasPrefix(a.Header.Get("Content-Type"), problem) {
			return nil // a page's
		}
		where = []string{"paths", "x-other-paths"}
	case s.operation(path, a.Method) == "":
		where = append(where, "x-other-methods")
	default:
		where = append(where, s.operation(path, a.Method), "responses", fmt.Sprint(a.Status))
	}
	said, pointer := s.doc.part(where...)
	if said == nil {
		return fmt.Errorf("%s %s: a status %d that the contract has not", a.Method, a.Path, a.Status)
	}
	key := answerKey(pointer, a)
	s.mu.Lock()
	err, known := s.seen[key]
	s.mu.Unlock()
	if !known {
		err = errors.Join(s.headers(said, a.Header), s.body(said, pointer, a))
		s.mu.Lock()
		s.seen[key] = err
		s.mu.Unlock()
	}
	s.doc.meet(where...)
	s.asked(path, a)
	if err == nil && a.Status < 300 && item != nil {
		err = s.request(path, a)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %d %v %.300q: %w", a.Method, a.Path, a.Status, a.Header, a.Body, err)
	}
	return nil
}

func answerKey(pointer string, a Answer) [32]byte {
	sum := sha256.New()
	fmt.Fprintln(sum, pointer, a.Method, a.Status, a.Torn, a.Header)
	sum.Write(a.Body)
	return [32]byte(sum.Sum(nil))
}

// find is the path of the contract that a request's path is one of.
func (s *Shop) find(path string) (template string, item object) {
	asked := strings.Split(path, "/")
	paths, _ := s.doc.root["paths"].(object)
	for template := range paths {
		parts := strings.Split(template, "/")
		if len(parts) == len(asked) && !slices.ContainsFunc(parts, func(part string) bool {
			i := slices.Index(parts, part)
			return part != asked[i] && (!strings.HasPrefix(part, "{") || asked[i] == "")
		}) {
			item, _ := paths[template].(object)
			return template, item
		}
	}
	return "", nil
}

// operation is the one of a method, "" where there is none. HEAD is GET.
func (s *Shop) operation(path, method string) string {
	name := strings.ToLower(method)
	if _, ok := at(s.doc.root, "paths", path, name).(object); ok {
		return name
	}
	if _, ok := at(s.doc.root, "paths", path, "get").(object); ok && method == http.MethodHead {
		return "get"
	}
	return ""
}

// headers holds an answer's headers to those that are listed.
func (s *Shop) headers(said object, got http.Header) (err error) {
	listed, _ := said["headers"].(object)
	names := map[string]bool{}
	for name := range listed {
		names[http.CanonicalHeaderKey(name)] = true
		header, pointer := s.doc.partAt(said, "headers", name)
		values := got.Values(name)
		switch {
		case len(values) == 0 && header["required"] == true:
			err = errors.Join(err, fmt.Errorf("no header %s", name))
		case len(values) > 1:
			err = errors.Join(err, fmt.Errorf("header %s twice: %q", name, values))
		case len(values) == 1:
			var v any = values[0]
			if at(header, "schema", "type") == "integer" {
				v, _ = jsonschema.UnmarshalJSON(strings.NewReader(values[0]))
			}
			if wrong := s.doc.check(closed, pointer+"/schema", v); wrong != nil {
				err = errors.Join(err, fmt.Errorf("header %s: %w", name, wrong))
			}
		}
	}
	for name := range got {
		if !names[name] && !slices.Contains(unsaidHeaders, name) {
			err = errors.Join(err, fmt.Errorf("a header %s that the contract has not", name))
		}
	}
	return err
}

// body holds an answer's body to the schema of its media type.
func (s *Shop) body(said object, pointer string, a Answer) error {
	content, _ := said["content"].(object)
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	switch {
	case a.Torn || a.Method == http.MethodHead && len(a.Body) == 0:
		return nil
	case content == nil && len(a.Body) == 0 && kind == "":
		return nil
	case content == nil:
		return fmt.Errorf("a body (%s) where the contract has none", kind)
	case content[kind] == nil:
		return fmt.Errorf("a body of type %q that the contract has not", kind)
	}
	text := a.Body
	if a.Header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(text))
		if err == nil {
			text, err = io.ReadAll(r)
		}
		if err != nil {
			return err
		}
	}
	if kind == "text/event-stream" {
		return s.stream(said, pointer, string(text))
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	err = s.doc.check(closed, pointer+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema", v)
	if code, ok := at(v, "code").(string); ok && err == nil && kind == problem {
		s.doc.meet(pointer, code)
	}
	return err
}

// stream holds each whole event of a stream to the schema of its name.
func (s *Shop) stream(said object, pointer, text string) (err error) {
	all := strings.Split(text, "\n\n")
	for _, event := range all[:len(all)-1] {
		fields := map[string]string{}
		for line := range strings.SplitSeq(event, "\n") {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimPrefix(value, " ")
		}
		if _, comment := fields[""]; comment && len(fields) == 1 {
			continue
		}
		name := fields["event"]
		if at(said, "x-events", name) == nil {
			err = errors.Join(err, fmt.Errorf("an event %q that the contract has not", name))
			continue
		}
		v, wrong := jsonschema.UnmarshalJSON(strings.NewReader(fields["data"]))
		if wrong == nil {
			wrong = s.doc.check(closed, pointer+"/x-events/"+name, v)
		}
		if version := at(v, "version"); wrong == nil && (version != nil || fields["id"] != "") && version != fields["id"] {
			wrong = fmt.Errorf("id %q of version %v", fields["id"], version)
		}
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("event %s: %w", event, wrong))
			continue
		}
		s.doc.meet("event", name)
	}
	return err
}

// asked notes which parameters of the contract a request had.
func (s *Shop) asked(path string, a Answer) {
	method := s.operation(path, a.Method)
	list, _ := at(s.doc.root, "paths", path, method, "parameters").([]any)
	for _, one := range list {
		p, _ := s.doc.partAt(object{"it": one}, "it")
		name, _ := p["name"].(string)
		if p["in"] == "query" && a.Query.Has(name) || p["in"] == "header" && a.Asked.Get(name) != "" {
			s.doc.meet("parameter", name, "of", method, path)
		}
	}
}

// request holds what was asked and answered well to what the contract lets one ask.
func (s *Shop) request(path string, a Answer) error {
	names := []string{"paths", path, s.operation(path, a.Method), "requestBody", "content", "application/json"}
	content, pointer := s.doc.part(names...)
	if content == nil || a.Torn {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.Sent))
	if err == nil {
		err = s.doc.check(open, pointer+"/schema", v)
	}
	if err != nil {
		return fmt.Errorf("it was asked with %.300q: %w", a.Sent, err)
	}
	return nil
}

// Unmet is what the contract has and no answer showed: statuses of operations, events,
// parameters, fields, codes.
func (s *Shop) Unmet() (list []string) {
	want := func(what ...string) {
		s.doc.mu.Lock()
		defer s.doc.mu.Unlock()
		if name := strings.Join(what, " "); !s.doc.met[name] {
			list = append(list, name)
		}
	}
	want("paths", "x-other-paths")
	paths, _ := s.doc.root["paths"].(object)
	for path, item := range paths {
		item, _ := item.(object)
		for method, operation := range item {
			operation, _ := operation.(object)
			responses, _ := operation["responses"].(object)
			for status, response := range responses {
				want("paths", path, method, "responses", status)
				events, _ := at(response, "x-events").(object)
				for name := range events {
					want("event", name)
				}
			}
			parameters, _ := operation["parameters"].([]any)
			for _, one := range parameters {
				p, _ := s.doc.partAt(object{"it": one}, "it")
				want("parameter", fmt.Sprint(p["name"]), "of", method, path)
			}
			if method == "x-other-methods" {
				want("paths", path, method)
			}
		}
	}
	responses, _ := at(s.doc.root, "components", "responses").(object)
	for name, response := range responses {
		for _, code := range texts(at(response, "content", problem, "schema", "properties", "code", "enum")) {
			want("/components/responses/"+name, code)
		}
	}
	list = append(list, s.doc.unsaid("schemas", at(s.doc.root, "components", "schemas"))...)
	slices.Sort(list)
	return slices.Compact(list)
}
