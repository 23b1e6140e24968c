// Package api holds the contracts of waitroom as machines read them: OpenAPI of the shop,
// AsyncAPI of the line's WebSocket and of Kafka, and a JSON Schema of each event. They are
// files, embedded.
//
// It promises that they are what is really said: package apitest holds every answer that
// the shop's tests provoke, every message and every event to them, and what they name to
// what was met.
package api

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed openapi.yaml openapi.json asyncapi.yaml schemas/*.json
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
