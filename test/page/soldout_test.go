package page

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/test/internal/child"
)

// Who comes to a sold-out room stays on one connection and hears that it is no longer,
// whoever says so.
func TestReopened(t *testing.T) {
	sideBySide(t)
	reopened(t, func(h *hall) { h.operate("room", "reopen") })
}

func TestSeatsAreLeftAgain(t *testing.T) {
	sideBySide(t)
	reopened(t, func(h *hall) { h.stock(room.Stock{Rev: 1, Left: 3, At: time.Now()}) })
}

func reopened(t *testing.T, reopen func(*hall)) {
	h := newHall(t, 1)
	held := h.joined()
	was := stands(held)
	h.sellOut()
	held.see(setup, "sold out")
	late := open(t, h.url())
	late.see(setup, "sold out")
	reopen(h)
	reopened := time.Now()
	late.heard(10*time.Second, reopened, 1, "joined")
	late.heard(setup, reopened, 1, "position")
	if got := stands(held); got.number != was.number || got.place != was.place {
		t.Errorf("the visitor with a place after the reopening: got %+v, want %+v", got, was)
	}
	// Long enough for two beats: whoever was closed for a second join would be by now.
	stand(t, 2*beat+time.Second, func() string { return "" })
	for name, p := range map[string]*tab{"with a place": held, "without one": late} {
		if n := p.count(time.Time{}, "dial"); n != 1 {
			t.Errorf("the visitor %s dialled %d times, want once", name, n)
		}
		if s := p.until(slack, "the page stands in line", func(s seen) bool { return s.Phase == "waiting" }); s.Link != "live" {
			t.Errorf("the visitor %s: got %s, want a live connection", name, s)
		}
	}
}

// A sold-out crowd behind a proxy with time-outs makes no herd, and comes back
// spread out when more seats were added.
func TestSoldOutBehindNginx(t *testing.T) {
	t.Parallel() // the longest, and it only waits: it starts at once
	crowd, lasts := pick(5, 60), pick(20*time.Second, 150*time.Second)
	h := newHall(t, 1)
	h.sellOut()
	// The short form: a little more than a beat. The long one: as Debian ships it,
	// which is 60 s for reading, sending and keeping alive.
	h.front.to(h.nginx(pick("proxy_read_timeout 8s; proxy_send_timeout 8s;", "")))
	pages := make([]*tab, crowd)
	var opening sync.WaitGroup
	for i := range pages {
		opening.Go(func() { pages[i] = open(t, h.url()) })
	}
	opening.Wait()
	for _, p := range pages {
		p.see(setup, "sold out")
	}
	began := time.Now()
	stand(t, lasts, func() string {
		if n := h.front.dialled(began); n > 0 {
			return fmt.Sprintf("%d dials %.1f s after the last page was told, want none", n, time.Since(began).Seconds())
		}
		return ""
	})
	h.operate("room", "reopen")
	reopened := time.Now()
	var joins []time.Time
	for _, p := range pages {
		p.heard(time.Until(reopened.Add(20*time.Second)), reopened, 1, "joined")
		for _, e := range p.messages(reopened, "sent", "join") {
			joins = append(joins, e.time())
		}
		if n := p.count(time.Time{}, "dial"); n != 1 {
			t.Errorf("%s dialled %d times, want once", p.name, n)
		}
	}
	slices.SortFunc(joins, time.Time.Compare)
	spread, burst := joins[len(joins)-1].Sub(joins[0]), 0
	for i := range joins {
		n := 0
		for _, at := range joins[i:] {
			if at.Sub(joins[i]) < 100*time.Millisecond {
				n++
			}
		}
		burst = max(burst, n)
	}
	t.Logf("%d joins over %.1f s, at most %d within 100 ms", len(joins), spread.Seconds(), burst)
	if len(joins) != crowd {
		t.Errorf("%d pages joined by %d joins, want one each", crowd, len(joins))
	}
	if spread < 500*time.Millisecond || burst > pick(4, 12) {
		t.Errorf("the joins came over %.1f s with %d within 100 ms, want them spread over some seconds", spread.Seconds(), burst)
	}
}

// sellOut is what the booker says when the last seat is booked.
func (h *hall) sellOut() {
	h.t.Helper()
	h.stock(room.Stock{})
}

// stock is what the booker says of the seats that are left.
func (h *hall) stock(stock room.Stock) {
	h.t.Helper()
	if newer, err := h.lines.Stock(h.t.Context(), h.room, h.epoch, stock); err != nil || !newer {
		h.t.Fatalf("stock %+v: got newer %v, %v, want it taken", stock, newer, err)
	}
}

// nginx runs Debian's nginx in front of the first node, with a WebSocket's two
// headers and otherwise as it comes; it returns its address.
func (h *hall) nginx(more string) string {
	h.t.Helper()
	at := child.Address(h.t)
	conf := h.config("nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		location / {
			proxy_pass http://%[3]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_set_header Host $http_host;
			%[4]s
		}
	}
}
`, h.dir, at, h.at[0], more))
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // not on the PATH of everybody
	}
	nginx := child.NewProgram(h.t, h.dir, "nginx", path, "", nil, "-c", conf, "-e", "stderr")
	nginx.Start()
	child.Await(h.t, setup, "nginx listens", func() (bool, string) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false, fmt.Sprint(err, ", runs: ", nginx.Running())
		}
		c.Close()
		return true, ""
	})
	return at
}
