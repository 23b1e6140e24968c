// Command histories has clients of the shop's store act at once, on SQLite and on
// MariaDB, and asks porcupine whether one room could have answered them so: the long
// form of TestHistories in internal/booking.
//
//	go run ./test/histories                    1,000 histories on each database
//	go run ./test/histories --seed 7 --histories 5000
//	go run ./test/histories --broken           the store without each of its rules: each must be found out
//	go run ./test/histories --broken --rule grace
//
// The seed is printed; with it the clients choose the same acts again. How they meet is
// the machine's. MariaDB is that of WAITROOM_TEST_DB, or one of scripts/services that is
// stopped at the end. It exits with 1 when a history was wrong, or when a rule could be
// taken away unnoticed, and with 2 when it could not find out.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	suite   = "./internal/booking"
	manyDef = 1000
	// brokenDef histories of a store without a rule: the rarest shows in one of fifty.
	brokenDef = 400
	// afterDef are enough where most histories are wrong, and none ends the run.
	afterDef = 50
	// brokenWrong of them is enough to find a rule out.
	brokenWrong = 1
	// brokenLimit is for all rules together: most are found out within a second, and what
	// takes the time is to build each.
	brokenLimit = 15 * time.Minute
	// ruleLimit is for one rule on one database: 400 histories take half a minute on an idle
	// machine. What nobody noticed until then is missed.
	ruleLimit = time.Minute
	// runLimit is for one run of one database otherwise: 1,000 histories take a minute or two.
	runLimit = 30 * time.Minute
	// startLimit bounds the start of MariaDB, which makes its tables first.
	startLimit = 3 * time.Minute
)

// errWrong ends a program that found what it looks for.
var errWrong = errors.New("see above")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "histories:", err)
	stop()
	if errors.Is(err, errWrong) {
		os.Exit(1)
	}
	os.Exit(2)
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("histories", flag.ExitOnError)
	many := flags.Int("histories", 0, fmt.Sprintf("how many on each database; 0: %d, with --broken %d", manyDef, brokenDef))
	seed := flags.Uint64("seed", 0, "of the clients' choices; 0: by chance")
	takeAway := flags.Bool("broken", false, "run the store without each of its rules")
	rule := flags.String("rule", "", "with --broken: only rules that contain this")
	flags.Parse(args)
	if *many == 0 {
		*many = manyDef
		if *takeAway {
			*many = brokenDef
		}
	}
	work, err := os.MkdirTemp("", "waitroom-histories.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	env := append(os.Environ(), "WAITROOM_HISTORIES="+strconv.Itoa(*many))
	if *seed != 0 {
		env = append(env, "WAITROOM_SEED="+strconv.FormatUint(*seed, 10))
	}
	if os.Getenv("WAITROOM_TEST_DB") == "" {
		dsn, stop, err := startDatabase(ctx, filepath.Join(work, "services"))
		if err != nil {
			return err
		}
		defer stop()
		env = append(env, "WAITROOM_TEST_DB="+dsn)
	}
	p := &program{work: work, env: env}
	if *takeAway {
		return p.broken(ctx, *rule)
	}
	bin, err := p.build(ctx, nil)
	if err != nil {
		return err
	}
	wrong := 0
	for _, database := range databases {
		n, _, err := p.histories(ctx, bin, database, os.Stdout)
		if err != nil {
			return err
		}
		wrong += n
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %d histories were wrong", errWrong, wrong)
	}
	return nil
}

// databases are the subtests of the suite.
var databases = []string{"sqlite", "mysql"}

// program builds and runs the suite.
type program struct {
	work string // a folder of its own
	env  []string
}

// broken runs the suite on each store without a rule and prints a row of each: in how many
// histories the first wrong one was found.
func (p *program) broken(ctx context.Context, rule string) error {
	ctx, cancel := context.WithTimeout(ctx, brokenLimit)
	defer cancel()
	p.env = append(p.env, "WAITROOM_HISTORIES_WRONG="+strconv.Itoa(brokenWrong))
	began, env := time.Now(), p.env
	fmt.Println("| without the rule | wrong on SQLite | on MariaDB |\n|---|---|---|")
	missed, rows := 0, 0
	for _, b := range brokens {
		if !strings.Contains(b.rule, rule) {
			continue
		}
		rows++
		texts, err := b.sources(filepath.FromSlash(suite))
		if err != nil {
			return err
		}
		bin, err := p.build(ctx, texts)
		if ctx.Err() != nil {
			return fmt.Errorf("rule %q and those after it: %w", b.rule, ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("rule %q: %w", b.rule, err)
		}
		p.env = env
		if b.after {
			p.env = append(slices.Clone(env), "WAITROOM_HISTORIES="+strconv.Itoa(afterDef)) // the last one counts
		}
		fmt.Printf("| %s |", b.rule)
		for _, database := range databases {
			if b.only != "" && b.only != database {
				fmt.Print(" |")
				continue
			}
			one, cancel := context.WithTimeout(ctx, ruleLimit)
			wrong, of, err := p.histories(one, bin, database, io.Discard)
			late := one.Err() != nil && ctx.Err() == nil
			cancel()
			if late {
				missed++
				fmt.Printf(" none in %s |", ruleLimit)
				continue
			}
			if err != nil {
				return fmt.Errorf("rule %q: %w", b.rule, err)
			}
			if wrong == 0 {
				missed++
			}
			fmt.Printf(" %d of %d |", wrong, of)
		}
		fmt.Println()
	}
	fmt.Printf("\n%d rules in %s\n", rows, time.Since(began).Round(time.Second))
	switch {
	case rows == 0:
		return fmt.Errorf("no rule contains %q", rule)
	case missed > 0:
		return fmt.Errorf("%w: %d times a rule was taken away and nobody noticed", errWrong, missed)
	}
	return nil
}

// build makes the suite's binary, of other texts where there are any. The tree stays as
// it is: the compiler reads the texts in place of the files.
func (p *program) build(ctx context.Context, texts map[string]string) (bin string, err error) {
	replace := map[string]string{}
	for path, text := range texts {
		whole, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		copied := filepath.Join(p.work, strconv.Itoa(len(replace))+filepath.Ext(path))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[whole] = copied
	}
	others, err := outer(filepath.FromSlash(suite))
	if err != nil {
		return "", err
	}
	for _, path := range others {
		replace[path] = "" // it is not there
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(p.work, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	bin = filepath.Join(p.work, "booking.test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", bin, suite).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
}

// outer are the test files of a folder that stand outside of its package: they have the
// whole shop built anew for each rule, and no history.
func outer(folder string) (list []string, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(file.Name.Name, "_test") {
			continue
		}
		whole, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		list = append(list, whole)
	}
	return list, nil
}

// sum is the line in which the suite counts.
var sum = regexp.MustCompile(`(\d+) histories, (\d+) wrong, in`)

// histories runs one database's and says how many of how many were wrong. The suite ends
// when enough were.
func (p *program) histories(ctx context.Context, bin, database string, to io.Writer) (wrong, of int, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit) // or what the caller has
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, "-test.run", "^TestHistories$/^"+database+"$", "-test.v", "-test.timeout", runLimit.String())
	cmd.Env, cmd.Dir = p.env, filepath.FromSlash(suite)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, to), io.MultiWriter(&out, to)
	failed := cmd.Run()
	found := sum.FindSubmatch(out.Bytes())
	if found == nil || bytes.Contains(out.Bytes(), []byte("--- SKIP")) {
		return 0, 0, fmt.Errorf("the suite on %s: %w\n%s", database, errors.Join(failed, errors.New("it does not count")), out.Bytes())
	}
	of, _ = strconv.Atoi(string(found[1])) // digits, as the pattern says
	wrong, _ = strconv.Atoi(string(found[2]))
	if failed != nil && wrong == 0 {
		err = fmt.Errorf("the suite on %s failed, with no history wrong:\n%s", database, out.Bytes())
	}
	return wrong, of, err
}

// startDatabase runs a MariaDB in a folder of its own, until stop.
func startDatabase(ctx context.Context, folder string) (dsn string, stop func(), err error) {
	services := func(ctx context.Context, word string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "scripts/services", word, "--dir", folder, "mariadb")
		cmd.Stderr = os.Stderr
		return cmd.Output()
	}
	if _, err := services(ctx, "start"); err != nil {
		return "", nil, fmt.Errorf("start MariaDB: %w", err)
	}
	stop = func() {
		if _, err := services(context.WithoutCancel(ctx), "stop"); err != nil {
			fmt.Fprintln(os.Stderr, "histories: stop MariaDB:", err)
		}
	}
	out, err := services(ctx, "env")
	_, dsn, found := strings.Cut(strings.TrimSpace(string(out)), "WAITROOM_TEST_DB=")
	if err == nil && !found {
		err = errors.New("it has no address")
	}
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("MariaDB: %w", err)
	}
	return strings.Fields(dsn)[0], stop, nil
}
