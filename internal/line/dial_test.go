package line

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// Who gives a call half a second is answered after half a second, by every kind of
// client, whether the server hangs from the start or falls asleep later.
func TestContextEndsCall(t *testing.T) {
	const patience = 500 * time.Millisecond
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	ask := func(t *testing.T, l *Lines) {
		t.Helper()
		var all sync.WaitGroup // each ends with its context
		defer all.Wait()
		for what, call := range map[string]func(context.Context) error{
			"script": func(ctx context.Context) error { _, err := l.Admit(ctx, "sale", room.Caller{}, 1); return err },
			"look":   func(ctx context.Context) error { _, err := l.Turn(ctx, "sale", 0); return err },
			"plain":  func(ctx context.Context) error { _, err := l.Rooms(ctx); return err },
		} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(background(), patience)
				begun := time.Now()
				err := call(ctx)
				cancel()
				// A busy machine has been seen to take twice the time; it was 2 s and more.
				if took := time.Since(begun); took >= readTimeout-patience || !errors.Is(err, room.ErrAway) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: got %v after %v, want an end after %v", what, err, took, patience)
				}
			})
		}
	}
	for _, url := range []string{"redis://" + silent.Addr().String(), "redis-cluster://" + silent.Addr().String(),
		"redis-sentinel://" + silent.Addr().String() + "/sale"} {
		t.Run(url[:strings.Index(url, ":")], func(t *testing.T) { ask(t, lines(t, Server{URL: url})) })
	}
	t.Run("asleep", func(t *testing.T) {
		server := testenv.StartRedis(t)
		l := lines(t, Server{URL: server.URL()})
		if _, err := l.Rooms(background()); err != nil {
			t.Fatal(err)
		}
		server.Pause()
		defer server.Resume()
		ask(t, l)
	})
}

// lines are those of a server that is dialed for this test.
func lines(t *testing.T, s Server) *Lines {
	t.Helper()
	rdb, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return New(rdb)
}

// A user with a password from a file: right, wrong, and changed while the process
// runs.
func TestPasswordFile(t *testing.T) {
	server := testenv.StartRedis(t)
	admin := server.Client()
	ctx := background()
	set := func(password string) {
		t.Helper()
		if err := admin.ACLSetUser(ctx, "ann", "reset", "on", ">"+password, "~*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("hush")
	write("wrong\n")
	s := Server{URL: "redis://ann@" + server.Addr(), PasswordFile: file}
	_, err := s.Open(ctx)
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || !strings.Contains(err.Error(), "redis://"+server.Addr()) || strings.Contains(err.Error(), "wrong\n") {
		t.Errorf("a wrong password: got %v, want Redis's word and the address", err)
	}
	write("hush\r\nnot of it\n")
	rdb, err := s.Open(ctx)
	if err != nil {
		t.Fatalf("the right password: %v", err)
	}
	defer rdb.Close()
	set("hush2") // ends the connections of ann
	write("hush2")
	if who, err := rdb.Do(ctx, "ACL", "WHOAMI").Text(); err != nil || who != "ann" {
		t.Errorf("after a new password: got %q, %v", who, err)
	}
}

// Every wrong file and every pair of flags that don't go together is named, all
// at once.
func TestWrongFlags(t *testing.T) {
	dir := t.TempDir()
	empty, text := filepath.Join(dir, "empty"), filepath.Join(dir, "text")
	if err := errors.Join(os.WriteFile(empty, []byte("\nhush\n"), 0o600), os.WriteFile(text, []byte("hush\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		server Server
		want   []string
	}{
		{Server{URL: "redis://ann@a"}, []string{"--redis: a user without a password"}},
		{Server{URL: "redis://a", PasswordFile: empty}, []string{"--redis-password-file", "first line"}},
		{Server{URL: "redis://a", PasswordFile: filepath.Join(dir, "none")}, []string{"--redis-password-file", "no such file"}},
		{Server{URL: "redis://:x@a", PasswordFile: text}, []string{"--redis-password-file", "want one of them"}},
		{Server{URL: "redis://a", CA: text, Cert: text, Key: text, ServerName: "b", SentinelUser: "c"},
			[]string{"--redis-ca", "--redis-cert", "--redis-key", "--redis-server-name", "--redis-sentinel-user"}},
		{Server{URL: "rediss://a", CA: text, Cert: text}, []string{"--redis-ca", "no certificate", "want both or none"}},
		{Server{URL: "rediss://a", Cert: text, Key: text}, []string{"--redis-cert, --redis-key"}},
		{Server{URL: "redis-sentinel://a/b", SentinelPasswordFile: empty}, []string{"--redis-sentinel-password-file"}},
	} {
		err := c.server.Check()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%+v: got %v, want %q in it", c.server, err, want)
			}
		}
	}
}

// One server by its socket.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	server := testenv.StartRedis(t, "--unixsocket", path)
	if err := server.Client().Set(background(), "here", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := dial(t, "unix://"+path+"?db=0")
	if n, err := rdb.Exists(background(), "here").Result(); err != nil || n != 1 {
		t.Errorf("got %d, %v, want the same server", n, err)
	}
	if got := warned(t, rdb); len(got) != 0 {
		t.Errorf("check: got %q, want nothing", got)
	}
}

// A Redis that speaks TLS only and asks for our certificate, whose authority is our
// own: with the right files it answers, else the error says what is wrong.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority, files := certificates(t, dir), func(name string) string { return filepath.Join(dir, name+".pem") }
	server := testenv.StartRedis(t, "--tls-port", "0", "--tls-ca-cert-file", authority,
		"--tls-cert-file", files("redis"), "--tls-key-file", files("redis.key"))
	port := server.EnableTLS()
	s := Server{URL: "rediss://localhost:" + port, CA: authority, Cert: files("client"), Key: files("client.key"), ServerName: "redis.test"}
	rdb, err := s.Open(background())
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.Close(); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		change func(*Server)
		want   string
	}{
		"an unknown authority": {func(s *Server) { s.CA = "" }, "unknown authority"},
		"another name":         {func(s *Server) { s.ServerName = "" }, "localhost"},
		// Redis says so, or has closed the connection before it was read.
		"no certificate": {func(s *Server) { s.Cert, s.Key = "", "" }, ""},
	} {
		wrong := s
		c.change(&wrong)
		rdb, err := wrong.Dial()
		if err != nil {
			t.Fatal(err)
		}
		err = rdb.Ping(background()).Err()
		_ = rdb.Close()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", what, err, c.want)
		}
	}
}

// certificates writes an authority and what it signed for Redis, by the name
// redis.test, and for a client.
func certificates(t *testing.T, dir string) (authority string) {
	t.Helper()
	write := func(name, kind string, bytes []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var rootKey *ecdsa.PrivateKey
	for i, c := range []*x509.Certificate{root,
		{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, DNSNames: []string{"redis.test"}, NotAfter: root.NotAfter},
		{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"}, NotAfter: root.NotAfter}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			rootKey = key
		}
		signed, err1 := x509.CreateCertificate(rand.Reader, c, root, &key.PublicKey, rootKey)
		private, err2 := x509.MarshalECPrivateKey(key)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		write(c.Subject.CommonName, "CERTIFICATE", signed)
		write(c.Subject.CommonName+".key", "EC PRIVATE KEY", private)
	}
	return filepath.Join(dir, "authority.pem")
}
