package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
)

//go:generate env WAITROOM_UPDATE_CONTRACT=1 go test -count=1 -run=^TestJSON$ .

// openapi.json is openapi.yaml in the form that a browser reads by itself.
// WAITROOM_UPDATE_CONTRACT=1 writes it.
func TestJSON(t *testing.T) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	out := json.NewEncoder(&want)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(root); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("WAITROOM_UPDATE_CONTRACT") != "" {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("openapi.json")
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("openapi.json is not what openapi.yaml says, %v: go generate ./api", err)
	}
}
