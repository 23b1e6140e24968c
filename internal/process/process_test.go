package process

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

type group struct {
	Listen string        `default:":1"`
	Wait   time.Duration `default:"1s"`
}

func (g *group) Check() error {
	if g.Listen == "bad" {
		return errors.New("--listen: bad")
	}
	return nil
}

type runCmd struct {
	Group group `embed:""`
	Count int   `default:"1"`
}

func (r *runCmd) Run(ctx context.Context, env *Env) error {
	env.Out.Write([]byte("ran\n"))
	return ctx.Err()
}

type otherCmd struct {
	Fail bool
}

func (o *otherCmd) Check() error { return errors.New("other was checked") }
func (o *otherCmd) Run() error   { return errors.New("other ran") }

type needCmd struct {
	Group group  `embed:""`
	Need  string `required:""`
}

func (n *needCmd) Run() error { return nil }

type cli struct {
	Logging `embed:""`
	Run     runCmd   `cmd:"" default:"withargs"`
	Other   otherCmd `cmd:""`
	Need    needCmd  `cmd:""`
}

func TestRun(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		name string
		ctx  context.Context
		args []string
		code int
		out  string
		errs []string
	}{
		{"runs the default command", t.Context(), nil, 0, "ran\n", nil},
		{"a signal is a good end", ended, nil, 0, "ran\n", nil},
		{"help", t.Context(), []string{"-h"}, 0, "Usage: x", nil},
		{"version", t.Context(), []string{"--version"}, 0, "x " + ReadBuild().String() + "\n", nil},
		{"version of a command with a flag missing", t.Context(), []string{"need", "--version"}, 0, "x ", nil},
		{"all wrong values together", t.Context(), []string{"--count=many", "--wait=soon", "--listen=bad"}, 2, "",
			[]string{`--count "many": want a whole number`, `--wait "soon": want a duration`, "--listen: bad", "nothing was changed"}},
		{"a missing flag hides nothing", t.Context(), []string{"need", "--listen=bad", "--wait=soon"}, 2, "",
			[]string{"missing flags: --need", "--listen: bad", `--wait "soon"`}},
		{"a negative number hides nothing", t.Context(), []string{"run", "--count", "-5x", "--wait", "-.x", "--listen", "bad"}, 2, "",
			[]string{`--count "-5x": want a whole number`, `--wait "-.x": want a duration`, "--listen: bad"}},
		{"a negative number", t.Context(), []string{"run", "--count", "-5", "--wait", "-5s"}, 0, "ran\n", nil},
		{"no flag takes it", t.Context(), []string{"other", "--fail", "-5"}, 2, "", []string{"-5"}},
		{"after the end of flags", t.Context(), []string{"run", "--", "--count", "-5"}, 2, "", []string{"--count"}},
		{"unknown flag", t.Context(), []string{"--nope"}, 2, "", []string{"unknown flag --nope"}},
		{"only the chosen command is checked", t.Context(), []string{"other"}, 2, "", []string{"other was checked"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := Run(c.ctx, "x", "", &cli{}, c.args, &out, &errOut)
			if code != c.code {
				t.Errorf("got exit code %d, want %d (%s)", code, c.code, errOut.String())
			}
			if !strings.HasPrefix(out.String(), c.out) || (c.out == "" && out.Len() > 0) {
				t.Errorf("got output %q, want %q", out.String(), c.out)
			}
			for _, e := range c.errs {
				if !strings.Contains(errOut.String(), e) {
					t.Errorf("got errors %q, want %q among them", errOut.String(), e)
				}
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"redis://user:secret@h:1/0": "redis://***@h:1/0",
		"mysql://u:p@ss@h/db":       "mysql://***@h/db",
		"redis://h:1/0":             "redis://h:1/0",
		"sqlite:file.db":            "sqlite:file.db",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q): got %q, want %q", in, got, want)
		}
	}
}
