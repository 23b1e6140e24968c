// Package apitest holds what the shop answers, what is said over the WebSocket and what
// goes over Kafka to the contracts of package api. Only tests import it.
//
// The contracts are open, since readers ignore what they do not know. Here they are
// closed: what is sent has no field that they do not name, or a field that was renamed
// would pass.
package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"waitroom/api"
)

// object is a part of a document.
type object = map[string]any

// document is one contract and what of it was met. It is safe for concurrent use.
type document struct {
	root object // as it stands in its file; never changed

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by address; guarded by mu, as the compiler is
	met      map[string]bool               // guarded by mu
	values   map[string]map[string]bool    // field → what it said, as a text; guarded by mu
}

// The two forms of a document, as schemas name it.
const (
	open   = "file:///open"
	closed = "file:///closed"
)

// load reads a contract of package api and the schemas of events beside it.
func load(name string) (*document, error) {
	d := &document{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, met: map[string]bool{}, values: map[string]map[string]bool{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	text, err := api.File(name)
	if err != nil {
		return nil, err
	}
	if d.root, err = parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, form := range []string{open, closed} {
		root, _ := parse(text) // was parsed
		if form == closed {
			shut(root)
		}
		if err := d.compiler.AddResource(form+"/document.json", root); err != nil {
			return nil, err
		}
	}
	for _, event := range api.Schemas() {
		if text, err = api.File("schemas/" + event + ".json"); err != nil {
			return nil, err
		}
		schema, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", event, err)
		}
		shut(schema)
		delete(schema, "$id") // it stands beside the document here
		if err := d.compiler.AddResource(closed+"/schemas/"+event+".json", schema); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse reads YAML, of which JSON is a part, as package jsonschema wants it.
func parse(text []byte) (object, error) {
	var root any
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	b, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf("got %T, want an object", v)
	}
	return o, nil
}

// shut lets every object below v have the fields that it names and no others.
func shut(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			shut(one)
		}
	case object:
		_, fields := v["properties"].(object)
		_, more := v["additionalProperties"]
		if fields && !more {
			v["unevaluatedProperties"] = false
		}
		for name, one := range v {
			if name != "example" && name != "examples" && name != "value" {
				shut(one)
			}
		}
	}
}

// check says what is wrong with a value, by the schema at a pointer of the document, or of
// a file beside it.
func (d *document) check(form, at string, v any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	address := form + "/document.json#" + at
	if strings.HasPrefix(at, "schemas/") {
		address = form + "/" + at
	}
	schema := d.schemas[address]
	if schema == nil {
		var err error
		if schema, err = d.compiler.Compile(address); err != nil {
			return err
		}
		d.schemas[address] = schema
	}
	if err := schema.Validate(v); err != nil {
		return err
	}
	d.note("", v)
	return nil
}

// note keeps which fields were met, and what those said that are texts. mu is held.
func (d *document) note(field string, v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			d.note(field, one)
		}
	case object:
		for name, one := range v {
			if d.values[name] == nil {
				d.values[name] = map[string]bool{}
			}
			d.note(name, one)
		}
	case string:
		if said := d.values[field]; said != nil && len(said) < 1000 { // lists of words are shorter
			said[v] = true
		}
	}
}

// meet notes that something of the contract was met.
func (d *document) meet(what ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.met[strings.Join(what, " ")] = true
}

// unsaid are the fields of some schemas that were never met, and the words of their lists
// that were never said.
func (d *document) unsaid(where string, schemas any) (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(where, one)
			}
		case object:
			fields, _ := v["properties"].(object)
			for name, one := range fields {
				said, seen := d.values[name]
				if !seen {
					list = append(list, where+": field "+name)
				}
				schema, _ := one.(object)
				words, _ := schema["enum"].([]any)
				for _, word := range words {
					if text, ok := word.(string); ok && !said[text] {
						list = append(list, fmt.Sprintf("%s: %s %q", where, name, text))
					}
				}
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				if name != "example" && name != "examples" {
					walk(where, v[name])
				}
			}
		}
	}
	walk(where, schemas)
	slices.Sort(list)
	return slices.Compact(list)
}

// at follows names into a document; nil where there is nothing.
func at(v any, names ...string) any {
	for _, name := range names {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// part is what stands at names, with its pointer; a reference is followed.
func (d *document) part(names ...string) (o object, pointer string) {
	o, _ = at(d.root, names...).(object)
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	if ref, ok := o["$ref"].(string); ok && strings.HasPrefix(ref, "#/") && len(o) == 1 {
		var to []string
		for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			to = append(to, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
		}
		return d.part(to...)
	}
	return o, pointer
}

// partAt is part for what stands in o, which is somewhere in the document.
func (d *document) partAt(o object, names ...string) (part object, pointer string) {
	part, _ = at(o, names...).(object)
	ref, _ := part["$ref"].(string)
	return d.part(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) // of components, whose names need no escape
}

// texts are a list of texts.
func texts(v any) (list []string) {
	all, _ := v.([]any)
	for _, one := range all {
		if s, ok := one.(string); ok {
			list = append(list, s)
		}
	}
	return list
}
