package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Stops holds what compose.yaml and README.md say of a binary's stop against how long it
// takes at most: each of its services is given longer than that before it is killed, and
// the README tells it for the flags' defaults, beside what it calls the process. limit
// reads a command line and the environment. It is called from the directory of a command.
func Stops(t *testing.T, name, called string, limit func(args []string) time.Duration) {
	t.Helper()
	clean(t)
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
			Grace       string `yaml:"stop_grace_period"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	services := 0
	for service, c := range file.Services {
		if len(c.Command) < 2 || c.Command[0] != name || c.Command[1] != "run" {
			continue
		}
		services++
		// Without the environment: the README is about defaults.
		if want := fmt.Sprintf("%.0f s (%s)", limit(c.Command[1:]).Seconds(), called); !strings.Contains(string(readme), want) {
			t.Errorf("README.md does not say that a stop takes at most %s", want)
		}
		t.Run(service, func(t *testing.T) {
			for variable, value := range c.Environment {
				t.Setenv(variable, value)
			}
			grace, err := time.ParseDuration(c.Grace)
			if most := limit(c.Command[1:]); err != nil || grace <= most {
				t.Errorf("service %s: stop_grace_period %q, %v, want more than the %s that a stop may take", service, c.Grace, err, most)
			}
		})
	}
	if services == 0 {
		t.Errorf("compose.yaml runs %s nowhere", name)
	}
}
