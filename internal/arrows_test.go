package internal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows is what each package may import of this module, with the reason. What
// is not here may import nothing of it.
var arrows = map[string]struct {
	may []string
	why string
}{
	"internal/room":                {nil, "the words of the line"},
	"internal/seat":                {nil, "the words of the shop"},
	"internal/venue":               {[]string{"internal/seat"}, "plan files are made of the words of the shop; pure"},
	"internal/rank":                {[]string{"internal/room"}, "pure arithmetic over the line's words"},
	"internal/wire":                {[]string{"internal/room", "internal/seat", "internal/token"}, "messages are made of words; the error table knows all sentinels"},
	"internal/events":              {[]string{"internal/room", "internal/seat"}, "facts are made of words"},
	"internal/token":               {[]string{"internal/room"}, "a token proves a place or an admission"},
	"internal/hostport":            {nil, "one check of an address; looks nothing up"},
	"internal/secret":              {nil, "one way to read a password's file"},
	"internal/line":                {[]string{"internal/room", "internal/hostport", "internal/secret"}, "the only one who speaks Redis"},
	"internal/line/linetest":       {[]string{"internal/room"}, "the contract of the line, for the line's tests and for those of whoever has a fake of it"},
	"internal/kafkaio":             {[]string{"internal/events", "internal/outage"}, "the only one who speaks Kafka; carries records and knows the name of a topic's dead letters"},
	"internal/sqldb":               {[]string{"internal/secret"}, "connections and retries; knows no table"},
	"internal/process":             {[]string{"internal/hostport"}, "what binaries share; knows no domain"},
	"internal/hub":                 {[]string{"internal/room", "internal/cadence", "internal/outage", "internal/rank", "internal/wire"}, "visitors and ticks; no client, no transport"},
	"internal/conversation":        {[]string{"internal/room", "internal/limit", "internal/wire", "internal/token", "internal/hub"}, "what a visitor may say; no transport"},
	"internal/gateway":             {[]string{"internal/room", "internal/outage", "internal/socket", "internal/limit", "internal/wire", "internal/conversation"}, "the edge: sockets and who may open one"},
	"internal/node":                {[]string{"internal/room", "internal/limit", "internal/token", "internal/directory", "internal/hub", "internal/conversation", "internal/gateway", "internal/signs", "web"}, "the one wiring of a node"},
	"internal/directory":           {[]string{"internal/room", "internal/outage"}, "what a process knows of the rooms; no client, no transport"},
	"internal/signs":               {[]string{"internal/room", "internal/outage"}, "signs of life and what they say; the line by interface"},
	"internal/admission":           {[]string{"internal/room", "internal/events", "internal/outage"}, "rounds and relay over interfaces"},
	"internal/booking":             {[]string{"internal/room", "internal/seat", "internal/venue", "internal/events", "internal/token", "internal/sqldb", "internal/outbox", "internal/seatmap", "internal/outage"}, "the rule with its SQL; Kafka by interface, no HTTP; its changes go into the map's log"},
	"internal/booking/bookingtest": {[]string{"internal/room", "internal/seat", "internal/events", "internal/token", "internal/sqldb", "internal/booking", "internal/booking/testkit"}, "a shop for the tests of what stands around it"},
	"internal/booking/testkit":     {[]string{"internal/room", "internal/seat", "internal/events", "internal/token", "internal/sqldb", "internal/testenv"}, "what the tests of booking and of what stands around it share"},
	"internal/outbox":              {[]string{"internal/events", "internal/sqldb", "internal/outage"}, "facts in SQL on their way; Kafka by interface"},
	"internal/seatmap":             {[]string{"internal/room", "internal/seat", "internal/sqldb", "internal/outage"}, "what the map of a room looks like, and the log of its changes; its seats by function"},
	"internal/boxoffice":           {[]string{"internal/room", "internal/events", "internal/booking", "internal/outbox", "internal/seatmap", "internal/shop", "internal/sqldb"}, "the one wiring of the shop"},
	"internal/shop":                {[]string{"internal/room", "internal/seat", "internal/wire", "internal/token", "internal/booking", "internal/seatmap", "internal/sqldb", "internal/limit", "internal/outage"}, "the edge of the shop: no statement, no Kafka"},
	"internal/bot":                 {[]string{"internal/room", "internal/seat", "internal/wire"}, "a visitor speaks messages; it shares nothing else with the servers"},
	"internal/embedded":            {nil, "servers inside the demo"},
	"internal/testenv":             {[]string{"internal/process"}, "servers for tests, and the list of flags against the binaries"},
	"api":                          {nil, "the contracts are files"},
	"api/apitest":                  {[]string{"api", "internal/events"}, "what is said, held to the contracts; for the tests of who says it"},
	"web":                          {[]string{"internal/room"}, "a page is there for a well-formed room name only"},
	"internal/payment":             {[]string{"internal/outage"}, "what a payment service is asked, and what its answers are worth; knows no seat, so that every process may ask"},
	"internal/psp":                 {[]string{"internal/payment", "internal/outage"}, "a payment service for tests, scripts and the demo; shares with its client the words alone"},
	"internal/outage":              {nil, "one way to log what does not work; knows no domain"},
	"internal/cadence":             {[]string{"internal/room"}, "pure arithmetic over positions and load; no clock"},
	"internal/limit":               {nil, "counts addresses; knows no protocol, so that every edge may use it"},
	"internal/socket":              {[]string{"internal/epoll"}, "one connection and its transport; knows no message"},
	"internal/epoll":               {nil, "descriptors that are waited for; knows no protocol"},
}

// clients are the drivers that only their adapter may link, directly or not.
var clients = map[string]string{
	"github.com/redis/go-redis/v9":   "internal/line",
	"github.com/segmentio/kafka-go":  "internal/kafkaio",
	"github.com/go-sql-driver/mysql": "internal/sqldb",
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestArrows(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range list(t, "-f", `{{.ImportPath}}|{{join .Imports " "}}`, "waitroom/internal/...", "waitroom/web/...", "waitroom/api/...") {
		path, imports, _ := strings.Cut(row, "|")
		pkg := strings.TrimPrefix(path, "waitroom/")
		rule, ok := arrows[pkg]
		if pkg == "internal" {
			continue
		}
		if !ok {
			t.Errorf("%s has no row in the table of arrows", pkg)
		}
		seen[pkg] = true
		for _, imp := range strings.Fields(imports) {
			if own, is := strings.CutPrefix(imp, "waitroom/"); is && !slices.Contains(rule.may, own) {
				t.Errorf("%s imports %s; it may import %v (%s)", pkg, own, rule.may, rule.why)
			}
		}
	}
	for pkg := range arrows {
		if !seen[pkg] {
			t.Errorf("%s stands in the table of arrows but does not exist", pkg)
		}
	}
}

// What only tests may import; a row above keeps internal and web from it.
func TestOnlyTestsImportTestPackages(t *testing.T) {
	for _, row := range list(t, "-f", `{{.ImportPath}}|{{join .Imports " "}}`, "waitroom/...") {
		path, imports, _ := strings.Cut(row, "|")
		for _, tests := range []string{"internal/line/linetest", "internal/booking/bookingtest", "internal/booking/testkit", "api/apitest"} {
			if slices.Contains(strings.Fields(imports), "waitroom/"+tests) && path != "waitroom/internal/booking/bookingtest" {
				t.Errorf("%s imports %s, which is for tests", path, tests)
			}
		}
	}
}

// The behaviours run under synctest and crash injection because no client hides
// below them.
func TestBehavioursLinkNoClient(t *testing.T) {
	for _, pkg := range []string{"hub", "conversation", "gateway", "node", "admission", "directory"} {
		for _, dep := range list(t, "-deps", "waitroom/internal/"+pkg) {
			for client, adapter := range clients {
				if dep == client || dep == "waitroom/"+adapter {
					t.Errorf("internal/%s links %s", pkg, dep)
				}
			}
		}
	}
}

func TestBinariesLinkNoTestServers(t *testing.T) {
	for _, cmd := range []string{"waitroom", "admitter", "booker"} {
		for _, dep := range list(t, "-deps", "waitroom/cmd/"+cmd) {
			for _, bad := range []string{"github.com/alicebob/miniredis", "github.com/twmb/franz-go", "waitroom/internal/embedded", "waitroom/internal/psp", "waitroom/internal/testenv", "testing"} {
				if dep == bad || strings.HasPrefix(dep, bad+"/") {
					t.Errorf("cmd/%s links %s", cmd, dep)
				}
			}
		}
	}
}
