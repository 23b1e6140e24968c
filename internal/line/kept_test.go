package line

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"waitroom/internal/testenv"
)

// The data model is additive: a process may run beside one that is a version older, on
// the same rooms, in a rolling upgrade and in its rollback. So the scripts of each
// generation are kept, and the newest two run beside each other here.
//
// A generation can be written anew until it is released, that is, until somebody runs it
// who must be able to upgrade; its file RELEASED then holds the sum of its scripts.
//
//	WAITROOM_KEEP_SCRIPTS=1 go test -run TestKeepScripts ./internal/line        writes the one that is not released
//	WAITROOM_KEEP_SCRIPTS=release go test -run TestKeepScripts ./internal/line  and releases it
const (
	keepVariable = "WAITROOM_KEEP_SCRIPTS"
	released     = "RELEASED"
)

func generationDir(root string, n int) string {
	return filepath.Join(root, fmt.Sprintf("scripts-%d", n))
}

// partsFile says in each generation which files make up each script, in order.
const partsFile = "parts.txt"

// todays are the files of this version's scripts: each once, and how they make scripts.
func todays() map[string]string {
	files := map[string]string{}
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		all := append(slices.Clone(parts[name]), name)
		_, _ = fmt.Fprintf(&list, "%s: %s\n", name, strings.Join(all, " ")) // it takes all
		for _, file := range all {
			files[file+".lua"] = source(file)
		}
	}
	files[partsFile] = list.String()
	return files
}

// scriptsOf are the scripts that files make, as they are sent to Redis.
func scriptsOf(files map[string]string) map[string]string {
	scripts := map[string]string{}
	for line := range strings.Lines(files[partsFile]) {
		name, all, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for _, file := range strings.Fields(all) {
			scripts[name] += files[file+".lua"]
		}
	}
	return scripts
}

// kept reads a generation; without an error and empty where there is none.
func kept(root string, n int) (files map[string]string, sum string, err error) {
	files = map[string]string{}
	entries, err := os.ReadDir(generationDir(root, n))
	if errors.Is(err, fs.ErrNotExist) {
		return files, "", nil
	}
	for _, file := range entries {
		text, err2 := os.ReadFile(filepath.Join(generationDir(root, n), file.Name()))
		if err = errors.Join(err, err2); file.Name() == released {
			sum = strings.TrimSpace(string(text))
			continue
		}
		files[file.Name()] = string(text)
	}
	return files, sum, err
}

// newest is the last generation that is kept; 0 when none is.
func newest(root string) (n int) {
	for {
		if _, err := os.Stat(generationDir(root, n+1)); err != nil {
			return n
		}
		n++
	}
}

func sumOf(files map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name]) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))
}

// keep writes files as the generation that is not released: the newest, or one more.
func keep(root string, files map[string]string, release bool) error {
	n := max(1, newest(root))
	old, sum, err := kept(root, n)
	if err != nil {
		return err
	}
	if sum != "" {
		if maps.Equal(old, files) {
			return nil // that is what is released
		}
		n++
	}
	dir := generationDir(root, n)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if release && err == nil {
		err = os.WriteFile(filepath.Join(dir, released), []byte(sumOf(files)+"\n"), 0o644)
	}
	return err
}

// Without the variable this says what is wrong with what is kept: a script was changed
// and the generation was not written anew, or a released one was changed by hand.
func TestKeepScripts(t *testing.T) {
	if how := os.Getenv(keepVariable); how != "" {
		if err := keep("testdata", todays(), how == "release"); err != nil {
			t.Fatal(err)
		}
	}
	n := newest("testdata")
	for i := 1; i <= n; i++ {
		files, sum, err := kept("testdata", i)
		if err != nil {
			t.Fatal(err)
		}
		if sum != "" && sum != sumOf(files) {
			t.Errorf("%s was released and is not what it was", generationDir("testdata", i))
		}
	}
	last, _, err := kept("testdata", n)
	if err != nil {
		t.Fatal(err)
	}
	today := todays()
	for _, name := range slices.Sorted(maps.Keys(today)) {
		if last[name] != today[name] {
			t.Errorf("%s is another one than %s keeps. Is what it writes and reads additive, so that the older one may run beside it? Then run %s=1 go test -run TestKeepScripts ./internal/line",
				name, generationDir("testdata", n), keepVariable)
		}
	}
	for name := range last {
		if _, has := today[name]; !has {
			t.Errorf("%s keeps %s, which is no part of a script any more: run %s=1", generationDir("testdata", n), name, keepVariable)
		}
	}
}

// What was released is never written again; what was not is written anew.
func TestReleasedScriptsStay(t *testing.T) {
	root := t.TempDir()
	step := func(what string, scripts map[string]string, release bool, wantNewest int) {
		t.Helper()
		if err := keep(root, scripts, release); err != nil {
			t.Fatal(err)
		}
		if got := newest(root); got != wantNewest {
			t.Errorf("%s: got %d generations, want %d", what, got, wantNewest)
		}
		if got, sum, err := kept(root, wantNewest); err != nil || !maps.Equal(got, scripts) || (sum == sumOf(scripts)) != release {
			t.Errorf("%s: got %v, sum %q, %v, want %v", what, got, sum, err, scripts)
		}
	}
	a, b, c := map[string]string{"x": "1", "gone": "1"}, map[string]string{"x": "2"}, map[string]string{"x": "3"}
	step("the first", a, false, 1)
	step("written anew", b, false, 1)
	step("released", b, true, 1)
	step("the same again", b, true, 1)
	step("a change", c, false, 2)
	step("another change", a, false, 2)
	if got, sum, err := kept(root, 1); err != nil || !maps.Equal(got, b) || sum != sumOf(b) {
		t.Errorf("the released one: got %v, sum %q, %v, want %v as it was", got, sum, err, b)
	}
}

// older makes a client run the scripts of another version while on is set. That
// version's Go is not there: this one's gives its scripts their keys and arguments, which
// are additive too, and reads their replies.
type older struct {
	on    atomic.Bool
	texts map[string]string // by the hash of today's
}

func newOlder(scripts map[string]string) *older {
	o := &older{texts: map[string]string{}}
	for name, today := range scriptsOf(todays()) {
		if text, has := scripts[name]; has {
			o.texts[redis.NewScript(today).Hash()] = text
		}
	}
	return o
}

func (o *older) DialHook(next redis.DialHook) redis.DialHook { return next }
func (o *older) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (o *older) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); o.on.Load() && strings.HasPrefix(cmd.Name(), "eval") {
			hash, _ := args[1].(string)
			if cmd.Name() == "eval" {
				hash = redis.NewScript(hash).Hash()
			}
			if text, has := o.texts[hash]; has {
				if args[1] = any(text); cmd.Name() == "evalsha" {
					args[1] = redis.NewScript(text).Hash()
				}
			}
		}
		return next(ctx, cmd)
	}
}

// beside lets each action of a walk be done by a process of this version or of the
// other, as it comes.
func (o *older) beside(actions map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){}
	for name, act := range actions {
		all[name] = act
		if name == "" {
			continue // the look at what came of it is today's
		}
		all[name] = func(t *rapid.T) {
			o.on.Store(rapid.Bool().Draw(t, "by the older version"))
			defer o.on.Store(false) // act may end by a panic of rapid's
			act(t)
		}
	}
	return all
}

// Both versions on one room, call by call: no number twice, nobody overtaken, and the
// books are the model's after each step.
func TestOlderScriptsBesideTodays(t *testing.T) {
	last := newest("testdata")
	if last == 0 {
		t.Fatal("no scripts are kept")
	}
	for n := max(1, last-1); n <= last; n++ {
		files, _, err := kept("testdata", n)
		if err != nil {
			t.Fatal(err)
		}
		scripts := scriptsOf(files)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			mixed := func(t *testing.T, rdb redis.UniversalClient) *older {
				o := newOlder(scripts)
				rdb.AddHook(o)
				return o
			}
			t.Run("redis", func(t *testing.T) {
				rdb := testenv.Redis(t)
				walk(t, rdb, "20", mixed(t, rdb).beside)
			})
			t.Run("miniredis", func(t *testing.T) {
				rdb := mini(t)
				walk(t, rdb, "5", mixed(t, rdb).beside)
			})
			t.Run("losses", func(t *testing.T) {
				rdb := testenv.Redis(t)
				walkLosses(t, rdb, "20", mixed(t, rdb).beside)
			})
		})
	}
}
