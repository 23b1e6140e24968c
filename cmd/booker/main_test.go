package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

// The test binary is the built command when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("BOOKER_TEST_MAIN") == "1" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// output is what a command prints, readable while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func booker(ctx context.Context, args ...string) (code int, out, errOut string) {
	var o, e output
	code = process.Run(ctx, "booker", "", &cli{}, args, &o, &e)
	return code, o.String(), e.String()
}

// shop is a booker that runs.
type shop struct {
	url, ops string
	log      *output
	stop     func() (code int)
}

var listening = regexp.MustCompile(`"listen":"([^"]+)","ops":"([^"]+)"`)

func run(t *testing.T, args ...string) shop {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, log output
	done := make(chan int, 1)
	go func() {
		done <- process.Run(ctx, "booker", "", &cli{}, append([]string{"run", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-delay=0s"}, args...), &out, &log)
	}()
	stop := sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	for {
		if m := listening.FindStringSubmatch(log.String()); m != nil {
			return shop{url: "http://" + m[1], ops: "http://" + m[2], log: &log, stop: stop}
		}
		select {
		case code := <-done:
			t.Fatalf("booker ended with %d: %s", code, log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func ask(t *testing.T, method, url, pass, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+pass)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(b)
}

// The whole shop: seats made on the command line, an admission out of Kafka, a
// visit over HTTP with a signed pass, its facts in Kafka, and a clean end.
func TestShop(t *testing.T) {
	// Topics and groups have fixed names, so a shared broker would mix this shop
	// with others.
	kafka := func(t *testing.T) string {
		addr, stop, err := embedded.Kafka()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return addr
	}
	t.Run("sqlite", func(t *testing.T) { testShop(t, kafka(t), "sqlite:"+filepath.Join(t.TempDir(), "shop.db")) })
	t.Run("mysql", func(t *testing.T) { testShop(t, kafka(t), testenv.MySQL(t)) })
}

func testShop(t *testing.T, kafka, db string) {
	const name = room.Name("gig")
	for _, c := range []struct {
		args string
		code int
		out  string
		err  []string // each within the errors
	}{
		{"--room gig --count 5 --per-row 3", 1, "", []string{"room gig has no seats", "--new"}},
		{"--room gig --count 4 --per-row 3 --new", 0, "room gig: 4 of 4 seats added\n", nil},
		{"--room gig --count 4 --per-row 3 --new", 0, "room gig: 0 of 4 seats added\n", nil}, // a lost answer
		{"--room gig --count 5 --per-row 3 --new", 1, "", []string{"room gig has 4 seats already", "without --new"}},
		{"--room gig --count 5 --per-row 3", 0, "room gig: 1 of 5 seats added\n", nil},
		{"--room gig --count 5 --per-row 3", 0, "room gig: 0 of 5 seats added\n", nil},
		{"--room hall --section N2 --count 3 --per-row 2 --new", 0, "room hall: 3 of 3 seats added\n", nil},
		{"--room hall --section S --count 3 --per-row 2", 0, "room hall: 3 of 3 seats added\n", nil},
		{"--room hall --section S --count 3 --per-row 2", 0, "room hall: 0 of 3 seats added\n", nil},
		{"--room hall --section N-2 --count 3", 2, "", []string{"--section", "A-Z and 0-9"}},
		{"--room gog --count 5", 1, "", []string{"room gog has no seats", "did you mean gig?", "--new"}},
	} {
		code, out, errs := booker(t.Context(), append([]string{"seats", "--db", db}, strings.Fields(c.args)...)...)
		if code != c.code || out != c.out {
			t.Fatalf("seats %s: got %d %q %s, want %d %q", c.args, code, out, errs, c.code, c.out)
		}
		for _, want := range c.err {
			if !strings.Contains(errs, want) {
				t.Errorf("seats %s: got %q, want %q in it", c.args, errs, want)
			}
		}
	}
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(jwks, ring.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	admission := room.Admission{Room: name, Epoch: room.NewEpoch(), Number: 1, Visitor: room.NewVisitorID()}
	pass, err := ring.Pass(admission, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}

	s := run(t, "--db", db, "--kafka", kafka, "--jwks", jwks)
	for status := 0; status != 200; status, _ = ask(t, "GET", s.ops+"/readyz", "", "") {
		if t.Context().Err() != nil {
			t.Fatal("never ready")
		}
	}
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: []string{kafka}})
	defer writer.Close()
	err = writer.Publish(t.Context(), []events.Record{events.EncodeAdmitted(name,
		room.Admitted{Visitor: admission.Visitor, Number: 1, At: time.Now(), Epoch: admission.Epoch})})
	if err != nil {
		t.Fatal(err)
	}
	// The topic of rooms is read too: what can't be understood there is set aside.
	if err := writer.Publish(t.Context(), []events.Record{{Topic: events.TopicRooms, Key: []byte("gig"), Value: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.log.String(), `"topic":"`+events.DLQ(events.TopicRooms)+`"`) {
		if t.Context().Err() != nil {
			t.Fatal("the record of the rooms' topic did not arrive")
		}
		time.Sleep(20 * time.Millisecond)
	}
	for { // the admission arrives
		_, body := ask(t, "GET", s.ops+"/metrics", "", "")
		if strings.Contains(body, `waitroom_booker_admissions_total{room="gig"}`) {
			testenv.Scraped(t, body)
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the admission did not arrive")
		}
		time.Sleep(20 * time.Millisecond)
	}

	base := s.url + "/rooms/gig"
	if status, body := ask(t, "GET", base+"/shop", "", ""); status != 200 || !strings.Contains(body, "<html") {
		t.Errorf("page: got %d %.80s, want a page", status, body)
	}
	if status, _ := ask(t, "GET", base+"/seats", pass[:len(pass)-8]+"AAAAAAAA", ""); status != 403 {
		t.Errorf("forged pass: got %d, want 403", status)
	}
	status, body := ask(t, "POST", base+"/holds", pass, `{"seats":["A-3","B-2"]}`)
	var hold struct{ ID string }
	if json.Unmarshal([]byte(body), &hold) != nil || status != 201 {
		t.Fatalf("hold: got %d %s, want 201", status, body)
	}
	if status, body := ask(t, "POST", base+"/holds/"+hold.ID+"/confirm", pass, ""); status != 200 {
		t.Errorf("confirm: got %d %s, want 200", status, body)
	}
	wantFacts(t, kafka, admission.String(), events.TypeHeld, events.TypeConfirmed, events.TypeFinished)

	if strings.Contains(s.log.String(), pass[:40]) || strings.Contains(s.log.String(), string(admission.Visitor)) {
		t.Errorf("the log names a visitor or a pass: %s", s.log.String())
	}
	if code := s.stop(); code != 0 {
		t.Errorf("stop: got exit code %d, want 0 (%s)", code, s.log.String())
	}
	if !strings.Contains(s.log.String(), `"msg":"stopped"`) {
		t.Errorf("got %s, want the end logged", s.log.String())
	}
	// The same database again: nothing is lost and nothing is in the way.
	again := run(t, "--db", db, "--kafka", kafka, "--jwks", jwks)
	if status, body := ask(t, "GET", again.url+"/rooms/gig/pass", pass, ""); status != 200 || !strings.Contains(body, `"seats":["A-3","B-2"]`) {
		t.Errorf("after a restart: got %d %s, want the booking", status, body)
	}
}

// A booker without keys that verify passes would refuse everybody: it is not
// ready, and its log says once what to do. Once it has read one, an outage of
// the waiting room changes nothing.
func TestNotReadyWithoutKeys(t *testing.T) {
	kafka, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	var state atomic.Int32 // what the waiting room answers; 0: an error page
	asked := make(chan struct{}, 100)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		if state.Load() == 0 {
			http.Error(w, "no such page", http.StatusNotFound)
			return
		}
		w.Write(ring.JWKS())
	}))
	t.Cleanup(keys.Close)
	url := strings.Replace(keys.URL, "http://", "http://user:hunter2@", 1) + "/jwks.json"
	s := run(t, "--db", "sqlite:"+filepath.Join(t.TempDir(), "shop.db"), "--kafka", kafka, "--jwks", url)
	<-asked
	<-asked // the first was answered and read
	if status, _ := ask(t, "GET", s.ops+"/readyz", "", ""); status != 503 {
		t.Errorf("readiness without a key: got %d, want 503", status)
	}
	log := s.log.String()
	if strings.Contains(log, `"msg":"ready"`) || strings.Count(log, "not ready: no key that verifies passes") != 1 ||
		!strings.Contains(log, "--jwks") || !strings.Contains(log, "status 404") {
		t.Errorf("without a key: got %s, want what to do, once, and no word that it is ready", log)
	}
	if strings.Contains(log, "hunter2") {
		t.Errorf("the password is in %s", log)
	}
	state.Store(1)
	for status := 0; status != 200; status, _ = ask(t, "GET", s.ops+"/readyz", "", "") {
		if t.Context().Err() != nil {
			t.Fatal("the keys are there: never ready")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if !strings.Contains(s.log.String(), `"msg":"ready"`) {
		t.Errorf("ready: got %s, want it said", s.log.String())
	}
	keys.Close()
	if status, _ := ask(t, "GET", s.ops+"/readyz", "", ""); status != 200 {
		t.Errorf("the waiting room is away later: got %d, want ready still", status)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("stop: got exit code %d, want 0 (%s)", code, s.log.String())
	}
}

// Nobody answers at --jwks: a stop ends the asking too.
func TestStopWithoutKeys(t *testing.T) {
	kafka, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and answers none
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	s := run(t, "--db", "sqlite:"+filepath.Join(t.TempDir(), "shop.db"), "--kafka", kafka, "--jwks", "http://"+silent.Addr().String())
	began := time.Now()
	if code := s.stop(); code != 0 || time.Since(began) > 4*time.Second { // a fetch gives up after 5
		t.Errorf("stop: got exit code %d after %s, want 0 at once (%s)", code, time.Since(began), s.log.String())
	}
}

// wantFacts reads the facts of one admission until all have come.
func wantFacts(t *testing.T, kafka, admission string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var got []string
	seen := map[string]bool{}
	reader := kafkaio.NewConsumer(kafkaio.ConsumerConfig{Brokers: []string{kafka}, Group: testenv.Topic(t, "facts"), Topics: []string{events.TopicBookings}})
	err := reader.Run(ctx, func(_ context.Context, records []events.Record) error {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range records {
			b, err := events.DecodeBooking(r.Headers, r.Value)
			if err == nil && b.Admission == admission && !seen[b.ID] {
				seen[b.ID] = true
				got = append(got, b.Type)
			}
		}
		if len(got) >= len(want) {
			cancel()
		}
		return nil
	})
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("facts: got %v, %v, want %v", got, err, want)
	}
}

func TestWrongFlags(t *testing.T) {
	code, _, errs := booker(t.Context(), "run", "--db=postgres://u:secret@h/x", "--kafka=nowhere", "--replication=0", "--jwks=/nowhere/at-all",
		"--prefix=x/", "--hold=0s", "--max-seats=many", "--keep=1h")
	if code != 2 {
		t.Errorf("got exit code %d, want 2", code)
	}
	for _, flag := range []string{"--db", "--kafka", "--replication", "--jwks", "--prefix", "--hold", "--max-seats", "--keep"} {
		if !strings.Contains(errs, flag) {
			t.Errorf("got %q, want %s in it", errs, flag)
		}
	}
	if strings.Contains(errs, "secret") {
		t.Errorf("got %q, want no password in it", errs)
	}
	code, _, errs = booker(t.Context(), "seats", "--room=A", "--count=0")
	if code != 2 || !strings.Contains(errs, "--room") || !strings.Contains(errs, "--count") {
		t.Errorf("seats: got %d %q, want --room and --count in it", code, errs)
	}
}

// A server that is not there is named, without its password, and so is a port
// that is taken.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	file := filepath.Join(t.TempDir(), "shop.db")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"database", []string{"--db=mysql://u:secret@" + nobody + "/shop"}, []string{"--db", nobody}},
		{"database file", []string{"--db=sqlite:" + file + "/no/such/folder.db"}, []string{"--db", file}},
		// Before any server is asked: of these none is there.
		{"ports", []string{"--db=mysql://u:secret@" + nobody + "/shop", "--kafka=" + nobody, "--listen=" + taken.Addr().String(), "--ops-listen=" + taken.Addr().String()},
			[]string{"booker: --listen " + taken.Addr().String(), "booker: --ops-listen " + taken.Addr().String()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // less patience than startWait
			defer cancel()
			code, _, errs := booker(ctx, append([]string{"run", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, c.args...)...)
			if code != 1 || strings.Contains(errs, "secret") {
				t.Errorf("got %d %q, want 1 and no password", code, errs)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("got %q, want %s named", errs, want)
				}
			}
		})
	}
}
