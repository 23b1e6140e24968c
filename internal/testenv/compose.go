package testenv

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"waitroom/internal/process"
)

// container is what a binary reads of its service in compose.yaml.
type container struct {
	Command     []string
	Environment map[string]string
	Ports       []string
	Healthcheck struct{ Test []string }
	DependsOn   map[string]any `yaml:"depends_on"`
}

// Compose holds compose.yaml against a binary, since no test has a container
// engine: every command line of it, and those in the comments on top, with the
// service's environment, is one that the binary accepts; each variable is known
// to it; published port and health check are those it listens on; the hosts it is
// pointed at are services that it waits for. run reads a command line and ends
// before it connects to anything. Compose is called from the directory of a
// command, two below the file.
func Compose(t *testing.T, name string, cli any, run func(args []string, errOut io.Writer) (code int)) {
	t.Helper()
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]container }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	known, err := process.FlagTable(name, cli)
	if err != nil {
		t.Fatal(err)
	}
	typed := commented(text, name)
	lines := 0
	for service, c := range file.Services {
		commands := typed[service]
		if args, ok := argsOf(name, c.Command); ok {
			commands = append(commands, args)
			if len(c.Ports) > 0 || len(c.Healthcheck.Test) > 0 {
				checkPorts(t, service, c)
			}
		}
		if len(commands) == 0 {
			continue
		}
		for variable, value := range c.Environment {
			if !strings.Contains(known, "`"+variable+"`") {
				t.Errorf("service %s sets %s, which %s does not know", service, variable, name)
			}
			checkHosts(t, service, variable, value, c, file.Services)
		}
		for _, args := range commands {
			lines++
			t.Run(service+" "+strings.Join(args, " "), func(t *testing.T) {
				clean(t)
				for variable, value := range c.Environment {
					t.Setenv(variable, value)
				}
				for i, arg := range args {
					// A path inside the container; here the command may write it.
					if filepath.IsAbs(arg) {
						args[i] = filepath.Join(t.TempDir(), filepath.Base(arg))
					}
				}
				var errOut bytes.Buffer
				const wrongFlags = 2
				if code := run(args, &errOut); code == wrongFlags {
					t.Errorf("%s does not accept it: %s", name, &errOut)
				}
			})
		}
	}
	if lines == 0 {
		t.Errorf("compose.yaml runs %s nowhere", name)
	}
}

// argsOf is what follows the binary's name in a service's command, also in one
// that a shell runs.
func argsOf(name string, command []string) ([]string, bool) {
	if len(command) == 3 && command[0] == "sh" && command[1] == "-c" {
		_, line, ok := strings.Cut(command[2], "|| "+name+" ")
		return strings.Fields(line), ok
	}
	if len(command) == 0 || command[0] != name {
		return nil, false
	}
	return command[1:], true
}

var typedLine = regexp.MustCompile(`(?m)^#\s+docker compose exec (\w+) (\w+) (.*)$`)

// commented are the command lines that the comment on top tells the reader to
// type, by service.
func commented(text []byte, name string) map[string][][]string {
	commands := map[string][][]string{}
	for _, match := range typedLine.FindAllStringSubmatch(string(text), -1) {
		if match[2] == name {
			commands[match[1]] = append(commands[match[1]], strings.Fields(match[3]))
		}
	}
	return commands
}

// clean takes the variables of whoever runs the tests away until the test ends;
// those of this package stay.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		variable, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(variable, "WAITROOM_") && !strings.HasPrefix(variable, "WAITROOM_TEST_") {
			t.Setenv(variable, value) // puts it back afterwards
			if err := os.Unsetenv(variable); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkPorts(t *testing.T, service string, c container) {
	t.Helper()
	port := func(variable string) string {
		_, port, err := net.SplitHostPort(c.Environment[variable])
		if err != nil {
			t.Errorf("service %s: %s: %v", service, variable, err)
		}
		return port
	}
	for _, published := range c.Ports {
		if want := ":" + port("WAITROOM_LISTEN"); !strings.HasSuffix(published, want) {
			t.Errorf("service %s publishes %s, but listens on %s", service, published, want)
		}
	}
	check := strings.Join(c.Healthcheck.Test, " ")
	if want := "http://127.0.0.1:" + port("WAITROOM_OPS_LISTEN") + "/readyz"; !strings.HasSuffix(check, " "+want) {
		t.Errorf("service %s: health check %q does not ask %s", service, check, want)
	}
}

var host = regexp.MustCompile(`(?:^|//|@)([a-z][a-z0-9-]*):[0-9]+`)

// checkHosts holds the hosts of a value against the services: the container
// starts when they are well, not before.
func checkHosts(t *testing.T, service, variable, value string, c container, all map[string]container) {
	t.Helper()
	for _, match := range host.FindAllStringSubmatch(value, -1) {
		if _, ok := all[match[1]]; !ok {
			t.Errorf("service %s: %s=%s names a host that is no service", service, variable, value)
		}
		if _, ok := c.DependsOn[match[1]]; !ok {
			t.Errorf("service %s: %s=%s, but does not depend on %s", service, variable, value, match[1])
		}
	}
}
