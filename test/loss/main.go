// Command loss runs the built binaries against real servers under a crowd of
// visitors, takes the line's data away in one of several ways, and counts what
// became of everybody: numbers given twice, visitors lost or overtaken, admitted
// under two ids, slots leaked. Each kind of loss is a row of a table, with a
// sentence for whatever is not 0.
//
//	go run ./test/loss                          every kind, 2,000 joins a second for 20 s
//	go run ./test/loss --short                  every kind, 300 joins a second for 10 s
//	go run ./test/loss --kinds aof-1s,flush --joins 500 --for 12s
//
// It exits with 1 when a promise was broken and with 2 when a run could not be
// made, or does not count because the machine did not keep up (machine.go). Each kind
// ends after a time of its own (Size.most), whatever hangs. What it prints is Markdown,
// for docs/loss-runs.md. What counts was told to the visitors, or stands in Kafka and in the
// booker's database; Redis is asked for nothing but the slots at the end.
//
// It starts servers and processes of its own, and ends them: a Redis for each
// kind, Kafka and MariaDB by scripts/services. Visitors are processes of their own
// as well, since one may open 20,000 files: the program starts itself again with
// --role.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Size is how large each run is.
type Size struct {
	Joins  int           // a second
	For    time.Duration // how long visitors arrive; the loss comes after three fifths
	Rate   int           // admissions a second in a long line, until the crowd is complete
	Hurry  int           // from then on
	Shop   float64       // which part of those let in goes on to the shop and buys
	Claim  time.Duration
	Pass   time.Duration
	Quiet  time.Duration // without any progress for so long, a run is over
	Within time.Duration // from the last join until a run is over in any case
}

// The rate leaves most of the crowd in line when the loss comes. Each admission is a
// claim, a signed pass, a record and a row, so two cores bear about a thousand a
// second beside their visitors; where they are busy, a claim or a pass that is too
// short would be missed for no other reason. Slots are counted when all of them are
// over, so the sizes of CI have the least that a pass may have. Quiet is longer than
// the longest wait of a page, 30 s. One visitor in fifty shops: the booker is under
// load and not what is measured.
var (
	long = Size{Joins: 2000, For: 20 * time.Second, Rate: 200, Hurry: 1000, Shop: 0.02,
		Claim: time.Minute, Pass: time.Minute, Quiet: 40 * time.Second, Within: 5 * time.Minute}
	short = Size{Joins: 300, For: 10 * time.Second, Rate: 50, Hurry: 600, Shop: 0.02,
		Claim: 15 * time.Second, Pass: 10 * time.Second, Quiet: 35 * time.Second, Within: 2 * time.Minute}
)

// lossAt is when the loss comes, from the first join on.
func (s Size) lossAt() time.Duration { return s.For * 3 / 5 }

// most is how long one kind may take; then it is ended and was not made. About a sixth
// of it is usual: the other parts are for what hangs.
func (s Size) most() time.Duration {
	return beginLimit + s.For + startLimit + hurryLimit + s.Within + s.slotsLimit() + relayLimit + bookerLimit
}

// slotsLimit is when the last claim and pass are over, and a beat of the rounds.
func (s Size) slotsLimit() time.Duration { return s.Claim + s.Pass + 5*time.Second }

// visitors is how many come.
func (s Size) visitors() int { return int(float64(s.Joins) * s.For.Seconds()) }

// errBroken ends a program whose runs were made and found a promise broken, errSlow one
// of which a run does not count.
var (
	errBroken = errors.New("promises were broken, see the table")
	errSlow   = errors.New("the machine did not keep up, see the table")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "loss:", err)
	stop()
	if errors.Is(err, errBroken) {
		os.Exit(1) // also where another run could not be made: this one was
	}
	os.Exit(2)
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("loss", flag.ExitOnError)
	words := flags.String("kinds", "", "with commas, empty for all: "+strings.Join(kindNames(), " "))
	small := flags.Bool("short", false, "the sizes of CI")
	joins := flags.Int("joins", 0, "visitors a second; 0: of the size")
	arrive := flags.Duration("for", 0, "how long they arrive; 0: of the size")
	rate := flags.Int("rate", 0, "admissions a second in a long line; 0: of the size")
	shop := flags.Float64("shop", -1, "part of those let in who go to the shop; below 0: of the size")
	logs := flags.String("logs", "", "folder that keeps the logs of every process and what each visitor was told; empty: none is kept")
	asJSON := flags.Bool("json", false, "print each row as a line of JSON too")
	role := flags.String("role", "", "used by loss itself, for its other processes")
	flags.Parse(args)
	if *role == "crowd" {
		return playCrowd(ctx)
	}
	size := long
	if *small {
		size = short
	}
	override(&size.Joins, *joins)
	override(&size.For, *arrive)
	override(&size.Rate, *rate)
	if *shop >= 0 {
		size.Shop = *shop
	}
	wanted, err := chosen(*words)
	if err != nil {
		return err
	}
	h, err := open(ctx, size, *logs)
	if err != nil {
		return err
	}
	defer h.close()

	printMachine(ctx, os.Stdout, h.root)
	fmt.Printf("- Each kind: %d joins a second for %s, the loss after %s; %d nodes, 2 admitters, 2 bookers\n",
		size.Joins, size.For, size.lossAt(), h.nodes())
	fmt.Printf("- Time: %s a kind at most, %s in all\n\n", size.most(), time.Duration(len(wanted))*size.most())
	printHead(os.Stdout)
	broken, slow, failed := false, false, []error(nil)
	var rows []Row
	for _, k := range wanted {
		row, err := h.within(ctx, k)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			row.Failed = err.Error()
			failed = append(failed, fmt.Errorf("%s: %w", k.name, err))
		}
		slow = slow || row.Slow != ""
		broken = broken || row.Broken()
		rows = append(rows, row)
		row.print(os.Stdout)
		if *asJSON {
			if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
				return err
			}
		}
	}
	explain(os.Stdout, rows)
	if broken {
		failed = append(failed, errBroken)
	}
	if slow {
		failed = append(failed, errSlow)
	}
	return errors.Join(failed...)
}

// override takes a value of a flag that was given.
func override[T int | time.Duration](to *T, value T) {
	if value != 0 {
		*to = value
	}
}

// chosen are the kinds of a flag; none is all of them.
func chosen(words string) ([]kind, error) {
	if words == "" {
		return kinds, nil
	}
	var list []kind
	for _, word := range strings.Split(words, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == word })
		if i < 0 {
			return nil, fmt.Errorf("--kinds %q: want some of %s", word, strings.Join(kindNames(), " "))
		}
		list = append(list, kinds[i])
	}
	return list, nil
}

func kindNames() (list []string) {
	for _, k := range kinds {
		list = append(list, k.name)
	}
	return list
}
