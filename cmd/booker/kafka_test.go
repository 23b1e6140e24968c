//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

// house is a database with seats, and the keys of the passes for them.
type house struct {
	t        *testing.T
	db, jwks string
	ring     *token.Keyring
	epoch    room.Epoch
	number   atomic.Int64
}

func newHouse(t *testing.T, db string, seats int) *house {
	t.Helper()
	if code, _, errs := booker(t.Context(), "seats", "--db", db, "--room=gig", fmt.Sprint("--count=", seats), "--per-row=20", "--new"); code != 0 {
		t.Fatalf("seats: got %d, %s", code, errs)
	}
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, jwks: filepath.Join(t.TempDir(), "jwks.json"), epoch: room.NewEpoch()}
	if h.ring, err = token.NewKeyring(key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.jwks, h.ring.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// pass is of a visitor who was just let in.
func (h *house) pass() (string, room.Admission) {
	h.t.Helper()
	a := room.Admission{Room: "gig", Epoch: h.epoch, Number: room.Number(h.number.Add(1)), Visitor: room.NewVisitorID()}
	pass, err := h.ring.Pass(a, time.Now().Add(5*time.Minute))
	if err != nil {
		h.t.Fatal(err)
	}
	return pass, a
}

// booker starts a booker of its own process on the house, and returns its public URL.
func (h *house) booker(kafka string, args ...string) (*exec.Cmd, *output, string) {
	h.t.Helper()
	cmd, said := start(h.t, 200, "ready", append([]string{"--db=" + h.db, "--kafka=" + kafka, "--jwks=" + h.jwks, "--drain-delay=0s"}, args...)...)
	return cmd, said, "http://" + listening.FindStringSubmatch(said.String())[1]
}

// buy holds a seat and confirms it, and returns the last status.
func (h *house) buy(url, pass, seat string) int {
	status, body := ask(h.t, "POST", url+"/rooms/gig/holds", pass, `{"seats":["`+seat+`"]}`)
	var hold struct{ ID string }
	if json.Unmarshal([]byte(body), &hold) != nil || hold.ID == "" {
		return status
	}
	status, _ = ask(h.t, "POST", url+"/rooms/gig/holds/"+hold.ID+"/confirm", pass, "")
	return status
}

// count counts rows.
func (h *house) count(from string) (n int) {
	h.t.Helper()
	db, err := sqldb.Open(h.t.Context(), h.db)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if err := db.GetContext(h.t.Context(), &n, "SELECT COUNT(*) FROM "+from); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func says(t *testing.T, said *output, what string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(said.String(), what); time.Sleep(5 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("nobody said %q: %s", what, said)
		}
	}
}

// A booker starts and sells without Kafka, and says what that means. When Kafka comes
// the topics are made, the facts leave, and admissions are recorded.
func TestSellsWithoutKafka(t *testing.T) {
	asleep := testenv.NewAsleep(t)
	h := newHouse(t, "sqlite:"+filepath.Join(t.TempDir(), "shop.db"), 20)
	cmd, said, url := h.booker(asleep.Addr)
	ops := "http://" + listening.FindStringSubmatch(said.String())[2]
	pass, admission := h.pass()
	if status := h.buy(url, pass, "A-1"); status != 200 {
		t.Errorf("buy: got %d, want 200 without Kafka", status)
	}
	says(t, said, "kafka is away: seats are held and sold")
	if _, body := ask(t, "GET", ops+"/metrics", "", ""); !strings.Contains(body, "\nwaitroom_booker_kafka_away_seconds ") || strings.Contains(body, "\nwaitroom_booker_kafka_away_seconds 0\n") {
		t.Error("no metric says for how long Kafka has been away")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(asleep.Port), kfake.ListenFn(asleep.Listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	says(t, said, "kafka is there")
	wantFacts(t, asleep.Addr, admission.String(), events.TypeHeld, events.TypeConfirmed, events.TypeFinished)
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: []string{asleep.Addr}})
	defer writer.Close()
	_, other := h.pass()
	record := events.EncodeAdmitted("gig", room.Admitted{Visitor: other.Visitor, Number: other.Number, At: time.Now(), Epoch: other.Epoch})
	for writer.Publish(t.Context(), []events.Record{record}) != nil {
		if t.Context().Err() != nil {
			t.Fatal("the admission was not published")
		}
	}
	for end := time.Now().Add(30 * time.Second); h.count("admissions WHERE admitted_at_us > 0") == 0; time.Sleep(20 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("the admission did not arrive: %s", said)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0: %s", err, said)
	}
}

// Without Kafka a stop is a good end, and takes no longer than its share.
func TestStopsWithoutKafka(t *testing.T) {
	asleep := testenv.NewAsleep(t)
	h := newHouse(t, "sqlite:"+filepath.Join(t.TempDir(), "shop.db"), 20)
	cmd, said, url := h.booker(asleep.Addr)
	pass, _ := h.pass()
	if status := h.buy(url, pass, "A-1"); status != 200 {
		t.Errorf("buy: got %d, want 200", status)
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("after SIGTERM: got %v after %v, want exit code 0 within 5 s: %s", err, time.Since(began), said)
	}
	if n := h.count("facts"); n != 3 || !strings.Contains(said.String(), "facts of the shop are left in the database") {
		t.Errorf("got %d facts, want the three kept and told of: %s", n, said)
	}
}

// A booker that is ended while visitors buy leaves no fact behind.
func TestStopPublishes(t *testing.T) {
	run := func(t *testing.T, db string) {
		kafka, stop, err := embedded.Kafka()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		const buyers = 8
		h := newHouse(t, db, 20*100)
		cmd, said, url := h.booker(kafka)
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		var sold, next atomic.Int64
		for range buyers {
			load.Go(func() { // ends with cancel, or when the booker does not answer
				for ctx.Err() == nil {
					i := next.Add(1) - 1
					pass, _ := h.pass()
					if !h.tryBuy(url, pass, fmt.Sprintf("%s-%d", row(int(i/20)), i%20+1), &sold) {
						return
					}
				}
			})
		}
		for end := time.Now().Add(30 * time.Second); sold.Load() < 100; time.Sleep(time.Millisecond) { // between two looks
			if time.Now().After(end) {
				t.Fatalf("nobody buys: %s", said)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("got %v, want exit code 0: %s", err, said)
		}
		cancel()
		load.Wait()
		http.DefaultClient.CloseIdleConnections()
		if n, old := h.count("facts"), h.count("outbox"); n != 0 || old != 0 {
			t.Errorf("got %d and %d facts left of %d purchases, want none", n, old, h.count("bookings"))
		}
		if n := h.count("leases WHERE owner <> ''"); n != 0 {
			t.Error("the lease was not given back")
		}
	}
	t.Run("sqlite", func(t *testing.T) { run(t, "sqlite:"+filepath.Join(t.TempDir(), "shop.db")) })
	t.Run("mysql", func(t *testing.T) { run(t, testenv.MySQL(t)) })
}

// row is the name of a row: A to Z, then AA and on.
func row(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return row(i/26-1) + string(rune('A'+i%26))
}

// tryBuy is buy of a visitor whose booker may end meanwhile; false: it has.
func (h *house) tryBuy(url, pass, seat string, sold *atomic.Int64) bool {
	post := func(path, body string) (string, bool) {
		w, err := postJSON(h.t.Context(), url+path, pass, body)
		return w, err == nil
	}
	body, ok := post("/rooms/gig/holds", `{"seats":["`+seat+`"]}`)
	var hold struct{ ID string }
	if !ok || json.Unmarshal([]byte(body), &hold) != nil || hold.ID == "" {
		return ok
	}
	if _, ok = post("/rooms/gig/holds/"+hold.ID+"/confirm", ""); ok {
		sold.Add(1)
	}
	return ok
}

func postJSON(ctx context.Context, url, pass, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+pass)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	return string(b), err
}
