// Package process is what the three binaries share: one way to read flags, one
// exit point, one meaning of signals, one shape of listeners, of logs, and of the whole
// life of a process that serves (Service).
//
// Exit codes: 0 done, or stopped by SIGINT or SIGTERM, or -h, or --version; 1 failed; 2 wrong
// flags, all of them reported together before anything was opened.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Env is what Main hands to a command's Run(ctx, env) method.
type Env struct {
	Name    string
	Log     *zap.Logger
	Metrics *prometheus.Registry
	Out     io.Writer // what a command prints for its operator
}

// Logging are the flags of the logger; every binary's top struct embeds it.
type Logging struct {
	LogLevel  string `help:"Least level logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"WAITROOM_LOG_LEVEL"`
	LogFormat string `help:"json, or text for a person at a terminal." enum:"json,text" default:"json" env:"WAITROOM_LOG_FORMAT"`
}

func (l Logging) logging() Logging { return l }

// Checker is a group of flags with rules of its own. Check is called once all
// flags are read; what it returns is reported together with everything else.
type Checker interface{ Check() error }

// secondSignal is how long after the first a signal is taken for the same one.
const secondSignal = 500 * time.Millisecond

// Main reads the flags into cli (a pointer to a kong struct that embeds Logging)
// and runs the chosen command's Run(ctx, *Env). It does not return.
//
// The context ends at the first SIGINT or SIGTERM; a second one kills, but not
// within secondSignal: a supervisor may signal the process and its group at once.
func Main(name, description string, cli interface{ logging() Logging }) {
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// Then the default handling is back. The timer ends with the process.
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, release) })
	os.Exit(Run(ctx, name, description, cli, os.Args[1:], os.Stdout, os.Stderr))
}

// Run is Main without the process: it returns the exit code.
func Run(ctx context.Context, name, description string, cli interface{ logging() Logging }, args []string, out, errOut io.Writer) (code int) {
	exited := -1
	var wrong []error
	parser, err := kong.New(cli, append(collect(&wrong),
		kong.Name(name), kong.Description(description), kong.Writers(out, errOut),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Embed(&versionFlag{}), kong.Vars{"version": name + " " + ReadBuild().String()},
		kong.Exit(func(c int) { exited = c; panic(exitPanic{}) }))...)
	if err != nil {
		fmt.Fprintf(errOut, "%s: %v\n", name, err)
		return 1
	}
	defer func() {
		// kong's -h and --version call Exit in the middle of parsing.
		if r := recover(); r != nil {
			if _, ours := r.(exitPanic); !ours {
				panic(r)
			}
			code = exited
		}
	}()
	kctx, err := parser.Parse(joinNegative(parser.Model.Node, args))
	if err != nil {
		wrong = append(wrong, err)
	}
	// A missing flag or a value outside its enum is found after all values were
	// taken over, so the groups can say what else is wrong.
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Error == nil {
		kctx = parse.Context
	}
	if kctx != nil && kctx.Error == nil {
		wrong = append(wrong, check(reflect.ValueOf(cli).Elem(), selected(kctx))...)
	}
	if len(wrong) > 0 {
		for _, e := range flatten(wrong) {
			fmt.Fprintf(errOut, "%s: %v\n", name, e)
		}
		fmt.Fprintf(errOut, "%s: nothing was changed; see %s --help\n", name, name)
		return 2
	}
	log := logger(cli.logging(), errOut).Named(name)
	defer log.Sync()
	reg := prometheus.NewRegistry()
	Common(reg)
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(&Env{Name: name, Log: log, Metrics: reg, Out: out})
	if err := kctx.Run(); err != nil && !errors.Is(err, context.Canceled) {
		for _, e := range flatten([]error{err}) {
			fmt.Fprintf(errOut, "%s: %v\n", name, e)
		}
		return 1
	}
	return 0
}

type exitPanic struct{}

// versionFlag is every binary's --version, beside the -h that kong gives it: not
// in the tables of flags, since it sets nothing.
type versionFlag struct {
	Version kong.VersionFlag `help:"Print name, version, revision and Go's version, and end."`
}

// selected are the command structs on the chosen path, by pointer.
func selected(kctx *kong.Context) map[any]bool {
	on := map[any]bool{}
	for _, p := range kctx.Path {
		if p.Command != nil && p.Command.Target.CanAddr() {
			on[p.Command.Target.Addr().Interface()] = true
		}
	}
	return on
}

// check calls Check on every group of flags of the chosen commands.
func check(v reflect.Value, chosen map[any]bool) (errs []error) {
	if v.Kind() != reflect.Struct {
		return nil
	}
	if c, ok := v.Addr().Interface().(Checker); ok {
		if err := c.Check(); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if _, command := f.Tag.Lookup("cmd"); command && !chosen[v.Field(i).Addr().Interface()] {
			continue
		}
		// A struct whose own Check was promoted from here has been asked already.
		if v.Field(i).Kind() == reflect.Struct {
			if _, outer := v.Addr().Interface().(Checker); outer && f.Anonymous {
				continue
			}
			errs = append(errs, check(v.Field(i), chosen)...)
		}
	}
	return errs
}

// collect makes kong note a value it cannot read and go on, so that all wrong
// values are reported together and not one per try.
func collect(wrong *[]error) []kong.Option {
	mapper := func(read func(s string, target reflect.Value) error) kong.MapperFunc {
		return func(ctx *kong.DecodeContext, target reflect.Value) error {
			var s string
			if err := ctx.Scan.PopValueInto("value", &s); err != nil {
				return err
			}
			if err := read(s, target); err != nil {
				*wrong = append(*wrong, fmt.Errorf("--%s %q: %w", ctx.Value.Name, s, err))
			}
			return nil
		}
	}
	integer := mapper(func(s string, target reflect.Value) error {
		n, err := strconv.ParseInt(s, 10, target.Type().Bits())
		if err != nil {
			return errors.New("want a whole number")
		}
		target.SetInt(n)
		return nil
	})
	duration := mapper(func(s string, target reflect.Value) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New("want a duration such as 500ms, 30s or 5m")
		}
		target.SetInt(int64(d))
		return nil
	})
	return []kong.Option{
		kong.KindMapper(reflect.Int, integer), kong.KindMapper(reflect.Int64, integer),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), duration),
	}
}

// flatten takes joined errors apart. One that only wraps several is one.
func flatten(errs []error) (flat []error) {
	for _, err := range errs {
		joined, ok := err.(interface{ Unwrap() []error })
		if ok && errors.Join(joined.Unwrap()...).Error() == err.Error() {
			flat = append(flat, flatten(joined.Unwrap())...)
		} else if err != nil {
			flat = append(flat, err)
		}
	}
	return flat
}

func logger(l Logging, w io.Writer) *zap.Logger {
	level, _ := zapcore.ParseLevel(l.LogLevel) // kong's enum let only good ones through
	conf := zap.NewProductionEncoderConfig()
	conf.TimeKey, conf.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	enc := zapcore.NewJSONEncoder(conf)
	if l.LogFormat == "text" {
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		enc = zapcore.NewConsoleEncoder(conf)
	}
	core := zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)
	// A storm of the same line must not fill a disk: 20 a second, then one in 100.
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 20, 100))
}

// Redact hides the password of a server's URL for a log line or an error.
func Redact(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		return scheme + "://***@" + rest[at+1:]
	}
	return url
}
