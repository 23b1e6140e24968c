package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/bot"
	"waitroom/internal/embedded"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

const (
	// host is the public name in both snippets; the test's client dials loopback.
	host = "tickets.example"
	// startLimit is until a process answers, on a machine that runs more than this.
	startLimit = 30 * time.Second
	// stopLimit is after SIGTERM.
	stopLimit = 30 * time.Second
)

// The README shows the files that ran, and not something like them.
func TestReadmeShowsTheFiles(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"nginx.conf", "Caddyfile"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), "\n"+string(text)+"```\n") {
			t.Errorf("README.md does not show test/proxy/%s as it is", file)
		}
	}
}

// What the README's snippets promise, with each proxy's own time-outs.
func TestProxies(t *testing.T) {
	if built == "" {
		t.Skip("runs the built binaries behind nginx and Caddy: WAITROOM_E2E=1 is not set")
	}
	f := open(t)
	for name, start := range map[string]func(*testing.T, *fleet, func(string) string) string{"nginx": nginx, "caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			c := newClient(t, start(t, f, func(s string) string { return s }))
			pages(t, c)
			origins(t, c)
			stays(t, c)
			sale(t, c)
		})
	}
}

// A proxy that leaves out what the snippets pass on: what visitors get then.
// Anybody who sees one of these answers finds it here.
func TestWhatIsLeftOut(t *testing.T) {
	if built == "" {
		t.Skip("runs the built binaries behind nginx: WAITROOM_E2E=1 is not set")
	}
	f := open(t)
	for _, c := range []struct {
		name   string
		lines  string // of nginx.conf, by what they begin with
		status int
		code   string
	}{
		{"Upgrade", "proxy_set_header Upgrade ", http.StatusUpgradeRequired, ""},
		{"Connection", "proxy_set_header Connection ", http.StatusUpgradeRequired, ""},
		{"HTTP/1.1", "proxy_http_version ", http.StatusUpgradeRequired, ""},
		// nginx then sends the name of the upstream, which is no page's origin.
		{"Host and X-Forwarded-Host", "proxy_set_header Host ", http.StatusForbidden, "origin"},
		// The page's https:// is then held against nothing, as without a proxy.
		{"X-Forwarded-Proto", "proxy_set_header X-Forwarded-Proto ", http.StatusSwitchingProtocols, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := nginx(t, f, func(conf string) string {
				var kept []string
				for line := range strings.Lines(conf) {
					own := strings.TrimSpace(line)
					forwarded := strings.Replace(own, "X-Forwarded-Host", "Host", 1) // says the same
					if !strings.HasPrefix(own, c.lines) && !strings.HasPrefix(forwarded, c.lines) {
						kept = append(kept, line)
					}
				}
				return strings.Join(kept, "")
			})
			client := newClient(t, address)
			status, body := client.upgrade(client.base, nil)
			if status != c.status || !strings.Contains(body, c.code) {
				t.Errorf("without %s: got %d %.200q, want %d with %q", c.name, status, body, c.status, c.code)
			}
			t.Logf("a proxy that leaves out %s: %d %.120q", c.name, status, body)
		})
	}
}

// pages are what a browser loads before it opens a WebSocket, under the prefix.
func pages(t *testing.T, c *client) {
	for path, want := range map[string]string{
		"/queue/rooms/show":            "<html",
		"/queue/.well-known/jwks.json": `"kid"`,
		"/tickets/rooms/show/shop":     "/queue/rooms/{room}", // the way back
		"/queue/assets/any/waiting.js": "import",
		"/tickets/assets/any/seats.js": "import",
		"/tickets/rooms/show/seats":    "pass_missing",
		"/queue/rooms/Not+A+Room":      "<html",
	} {
		answer, err := c.http.Get(c.base + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: got %d %.100q, want %q in it", path, answer.StatusCode, body, want)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); path == "/queue/rooms/show" && !strings.Contains(policy, "wss://"+c.name) {
			t.Errorf("%s: got policy %q, want the public name %s in it", path, policy, c.name)
		}
	}
}

// origins: the node hears the public name and scheme, and no other from a client
// that claims one.
func origins(t *testing.T, c *client) {
	for _, try := range []struct {
		name, origin string
		headers      map[string]string
		status       int
	}{
		{"its own page", "https://" + c.name, nil, 101},
		{"no browser", "", nil, 101},
		{"its own name over http", "http://" + c.name, nil, 403},
		{"another port", "https://" + host + ":1", nil, 403},
		{"another site", "https://evil.example", nil, 403},
		{"another site that says it is this one", "https://evil.example", map[string]string{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}, 403},
		{"a listed site", "https://partner.example", nil, 101},
	} {
		if status, body := c.upgrade(try.origin, try.headers); status != try.status {
			t.Errorf("%s (%s): got %d %.200q, want %d", try.name, try.origin, status, body, try.status)
		}
	}
}

// stays: a visitor who waits hears the node, through the proxy's buffers, often
// enough for any proxy's time-out.
func stays(t *testing.T, c *client) {
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, c.base+"/queue/rooms/later/ws", &websocket.DialOptions{HTTPClient: c.http,
		Subprotocols: []string{wire.Subprotocol}, HTTPHeader: http.Header{"Origin": {"https://" + c.name}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"join"}`)); err != nil {
		t.Fatal(err)
	}
	last, joined := time.Now(), false
	for frames := range 4 {
		_, body, err := ws.Read(ctx)
		if err != nil {
			t.Fatalf("after %d frames: %v", frames, err)
		}
		var m struct{ Type string }
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatalf("got %q: %v", body, err)
		}
		joined = joined || m.Type == "joined"
		if gap := time.Since(last); gap > 15*time.Second {
			t.Errorf("got a frame %s after the last, want less than a quarter of nginx's 60 s", gap)
		}
		last = time.Now()
	}
	if !joined {
		t.Error("heard no joined")
	}
}

// sale is a visitor's whole way: the line, the turn, the pass, the seats.
func sale(t *testing.T, c *client) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := bot.Run(ctx, bot.Config{Nodes: []string{c.base + "/queue"}, Room: "show", HTTP: c.http})
	if got.End != bot.Booked || got.Reconnects != 0 {
		t.Errorf("got end %s (%v) with %d reconnects, want a booking on one connection", got.End, got.Err, got.Reconnects)
	}
}

// client is a browser's side: it resolves the public name to the proxy.
type client struct {
	t    *testing.T
	name string // host:port, as in an address bar
	base string
	http *http.Client
}

func newClient(t *testing.T, address string) *client {
	_, port, _ := net.SplitHostPort(address) // of a listener
	c := &client{t: t, name: host + ":" + port}
	c.base = "https://" + c.name
	// HTTP/1.1, which WebSockets need; the certificate is the test's own.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host},
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}
	t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Transport: transport, Timeout: time.Minute}
	return c
}

// upgrade asks for a WebSocket and returns the answer's status and body.
func (c *client) upgrade(origin string, headers map[string]string) (int, string) {
	c.t.Helper()
	h := http.Header{}
	if origin != "" {
		h.Set("Origin", origin)
	}
	for name, value := range headers {
		h.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), startLimit)
	defer cancel()
	ws, answer, err := websocket.Dial(ctx, c.base+"/queue/rooms/later/ws",
		&websocket.DialOptions{HTTPClient: c.http, HTTPHeader: h, Subprotocols: []string{wire.Subprotocol}})
	if err == nil {
		ws.CloseNow()
		return answer.StatusCode, ""
	}
	if answer == nil {
		c.t.Fatalf("%s: %v", c.base, err)
	}
	body, _ := io.ReadAll(answer.Body) // what the library kept of it
	return answer.StatusCode, string(body)
}

// fleet is one of each binary, told of the proxy as the README says.
type fleet struct {
	waitroom, booker string
	bookerOps        string
	keys             *token.Keyring // of the fleet
}

func open(t *testing.T) *fleet {
	t.Helper()
	_, redis, stopRedis, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopRedis)
	kafka, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	dir := t.TempDir()
	f := &fleet{waitroom: free(t), booker: free(t)}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "WAITROOM_REDIS=redis://" + redis, "WAITROOM_KAFKA=" + kafka,
		"WAITROOM_DB=sqlite:" + filepath.Join(dir, "shop.db"), "WAITROOM_KEYS=" + filepath.Join(dir, "keys.json"),
		"WAITROOM_DRAIN_DELAY=0s"} // nobody comes any more when they are stopped
	do := func(binary string, args ...string) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(built, binary), args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", binary, args, err, out)
		}
	}
	do("waitroom", "keys", "new")
	if f.keys, err = token.LoadFile(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"show", "hall"} {
		do("booker", "seats", "--room", name, "--count", "20", "--new")
	}
	do("admitter", "room", "create", "show", "--rate", "50", "--state", "open")
	do("admitter", "room", "create", "later")
	ready := func(binary string, args ...string) (ops string) {
		ops = free(t)
		daemon(t, binary, env, filepath.Join(built, binary), append([]string{"run", "--ops-listen", ops}, args...)...)
		await(t, binary+" is ready", func() bool { return answers("http://"+ops+"/readyz", 200) })
		return ops
	}
	ready("waitroom", "--listen", f.waitroom, "--prefix", "/queue", "--trusted-proxy", "127.0.0.1/32",
		"--origin", "https://partner.example", "--shop-url", "/tickets/rooms/{room}/shop", "--drain", "100ms")
	f.bookerOps = ready("booker", "--listen", f.booker, "--prefix", "/tickets", "--waiting-url", "/queue/rooms/{room}",
		"--jwks", "http://"+f.waitroom+"/queue/.well-known/jwks.json")
	ready("admitter")
	return f
}

// ours puts this test's addresses in the place of the README's.
func (f *fleet) ours(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("127.0.0.1:8080", f.waitroom, "127.0.0.1:8082", f.booker).Replace(string(b))
}

// nginx starts Debian's nginx with the snippet in an otherwise empty
// configuration, so that every time-out is its own.
func nginx(t *testing.T, f *fleet, change func(string) string) (address string) {
	t.Helper()
	dir, address := t.TempDir(), free(t)
	certificate(t, dir)
	snippet := strings.NewReplacer("listen 443 ssl", "listen "+address+" ssl", "/etc/ssl/tickets.example", filepath.Join(dir, "tls")).
		Replace(change(f.ours(t, "nginx.conf")))
	conf := filepath.Join(dir, "nginx.conf")
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	text := fmt.Sprintf("pid %s;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n", filepath.Join(dir, "pid"), &temp, snippet)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // Debian's, which is on root's path only
	}
	daemon(t, "nginx", nil, program, "-e", "stderr", "-p", dir, "-c", conf, "-g", "daemon off;")
	up(t, address)
	return address
}

// caddy starts Debian's Caddy with the snippet; the global options keep it off
// the usual ports and from asking anybody for a certificate.
func caddy(t *testing.T, f *fleet, change func(string) string) (address string) {
	t.Helper()
	dir, address := t.TempDir(), free(t)
	_, port, _ := net.SplitHostPort(address)
	_, plain, _ := net.SplitHostPort(free(t))
	conf := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\thttp_port %s\n\thttps_port %s\n\tlocal_certs\n\tskip_install_trust\n\tstorage file_system %s\n\tdefault_bind 127.0.0.1\n}\n%s",
		plain, port, filepath.Join(dir, "data"), change(f.ours(t, "Caddyfile")))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, "caddy", []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, "caddy", "run", "--config", conf, "--adapter", "caddyfile")
	up(t, address)
	return address
}

// up waits for the first answer over TLS, which a proxy may have to make a
// certificate for.
func up(t *testing.T, address string) {
	t.Helper()
	c := newClient(t, address)
	await(t, "the proxy answers", func() bool {
		answer, err := c.http.Get(c.base + "/queue/rooms/show")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// certificate writes tls.pem and tls.key for the public name.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.pem": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// daemon starts a process that runs until the test ends, and is ended by its pid.
func daemon(t *testing.T, name string, env []string, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &log, &log, env
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (scripts/services install proxies)", name, err)
	}
	exited := make(chan struct{})
	go func() { // ends with the process
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(stopLimit):
			_ = cmd.Process.Kill()
			<-exited
			t.Errorf("%s still ran %s after SIGINT", name, stopLimit)
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, tail(log.String()))
		}
	})
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func answers(url string, status int) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == status
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startLimit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", startLimit, what)
		}
	}
}

// free is an address of loopback that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
