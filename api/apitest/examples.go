package apitest

import (
	"fmt"
	"slices"
	"strings"
)

// Examples are the values of components/examples, by their names.
func (s *Shop) Examples() map[string]any {
	list := map[string]any{}
	all, _ := at(s.doc.root, "components", "examples").(object)
	for name, example := range all {
		list[name] = at(example, "value")
	}
	return list
}

// Shows reports whether an example stands at the answer of a request.
func (s *Shop) Shows(example, method, path string, status int) bool {
	template, item := s.find(path)
	names := []string{"paths", template, s.operation(template, method), "responses", fmt.Sprint(status)}
	switch {
	case item == nil:
		names = []string{"paths", "x-other-paths"}
	case s.operation(template, method) == "":
		names = []string{"paths", template, "x-other-methods"}
	}
	response, _ := s.doc.part(names...)
	content, _ := response["content"].(object)
	for _, media := range content {
		shown, _ := at(media, "examples").(object)
		for _, one := range shown {
			if at(one, "$ref") == "#/components/examples/"+example {
				return true
			}
		}
	}
	return false
}

// Unused are the components that nothing refers to.
func (s *Shop) Unused() (list []string) {
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case object:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
			}
			for _, one := range v {
				walk(one)
			}
		}
	}
	walk(s.doc.root)
	components, _ := s.doc.root["components"].(object)
	for kind, all := range components {
		all, _ := all.(object)
		for name := range all {
			if ref := "#/components/" + kind + "/" + name; !used[ref] && kind != "securitySchemes" {
				list = append(list, strings.TrimPrefix(ref, "#/components/"))
			}
		}
	}
	slices.Sort(list)
	return list
}

// Codes are those of all problems.
func (s *Shop) Codes() []string {
	return texts(at(s.doc.root, "components", "schemas", "Problem", "properties", "code", "enum"))
}
