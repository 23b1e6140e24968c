package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/testenv"
)

// What the command prints is a line of an ACL file: with it alone Redis lets the
// same binary in, who names the user and the file of the password.
func TestACL(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run(t, "acl", "--user", "ann", "--password-file", password)
	if code != 0 || strings.Count(out, "\n") != 1 || strings.Contains(out, "hunter2") {
		t.Fatalf("got %d, %q, %q, want one line without the password", code, out, errOut)
	}
	users := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(users, []byte("user default on nopass ~* &* +@all\n"+out), 0o600); err != nil {
		t.Fatal(err)
	}
	server := testenv.StartRedis(t, "--aclfile", users)
	url := "redis://ann@" + server.Addr()
	if code, out, errOut := run(t, "room", "create", "sale", "--redis", url, "--redis-password-file", password); code != 0 {
		t.Errorf("with the password: got %d, %q, %q", code, out, errOut)
	}
	code, _, errOut = run(t, "room", "list", "--redis", url)
	if code != 2 || !strings.Contains(errOut, "--redis-password-file") {
		t.Errorf("without: got %d, %q, want the missing flag named", code, errOut)
	}
}

func TestACLOfARole(t *testing.T) {
	t.Parallel()
	_, node, _ := run(t, "acl", "--role", "node")
	_, all, _ := run(t, "acl")
	if !strings.Contains(node, "user waitroom on >PASSWORD ") || strings.Contains(node, "+xack") || !strings.Contains(all, "+xack") || !strings.Contains(all, "+info") {
		t.Errorf("got %q for a node and %q for all", node, all)
	}
	if code, _, errOut := run(t, "acl", "--user", "a b", "--role", "guest"); code != 2 || !strings.Contains(errOut, "--user") || !strings.Contains(errOut, "--role") {
		t.Errorf("wrong values: got %d, %q, want both named", code, errOut)
	}
}

// A Redis that can't hold a line ends the start: 1, and one line that says why.
func TestUnfitRedis(t *testing.T) {
	t.Parallel()
	master := testenv.StartRedis(t)
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := testenv.StartRedis(t, "--replicaof", "127.0.0.1 "+port)
	code, _, errOut := run(t, "run", "--redis", replica.URL(), "--ops-listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(errOut, "admitter: redis "+replica.Addr()+": this is a replica of "+master.Addr()) {
		t.Errorf("a replica: got %d, %q, want 1 and its master", code, errOut)
	}
}
