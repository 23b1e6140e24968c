package line

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// grant makes the user of a role, as `admitter acl` prints it, and returns a URL.
func grant(t *testing.T, server *testenv.RedisServer, role Role, more ...string) string {
	t.Helper()
	rule := strings.Fields(ACL("user-"+string(role), role, "hush"))
	args := []string{"acl", "setuser"}
	args = append(append(args, rule[1], "reset"), rule[2:]...)
	if err := server.Client().Do(background(), anys(append(args, more...))...).Err(); err != nil {
		t.Fatalf("%v: %v", rule, err)
	}
	return "redis://user-" + string(role) + ":hush@" + server.Addr()
}

func anys(words []string) []any {
	values := make([]any, len(words))
	for i, word := range words {
		values[i] = word
	}
	return values
}

// refusedBy is what Redis refused to whom, since the last look.
func refusedBy(t *testing.T, server *testenv.RedisServer) []string {
	t.Helper()
	entries, err := server.Client().ACLLog(background(), 128).Result()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Username+": "+e.Reason+" "+e.Object)
	}
	if err := server.Client().ACLLogReset(background()).Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The suite of this package, run again as a user with the rights of all roles. The
// commands that its tests send by themselves are the only ones more.
func TestSuiteUnderACL(t *testing.T) {
	if os.Getenv("WAITROOM_TEST_UNDER_ACL") != "" {
		t.Skip("this is that run")
	}
	t.Parallel() // it waits for a process with a server of its own
	server := testenv.StartRedis(t)
	url := grant(t, server, RoleAll, "+keys", "+xclaim", "+xpending", "+getbit", "+copy", "+xinfo|groups")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=2m",
		// These start servers of their own, where this user is not.
		"-test.skip=^Test(SuiteUnderACL|Roles|RightsAreChecked|ContextEndsCall|PasswordFile|TLS|Check(Warns|Replica|ByInfo)|Away|FullMemory|Sentinel)$")
	cmd.Env = append(os.Environ(), "WAITROOM_TEST_UNDER_ACL=1", "WAITROOM_TEST_REDIS="+url, "WAITROOM_TEST_REDIS_CLUSTER=",
		"WAITROOM_TEST_COUNT=", "WAITROOM_TEST_KEEP=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the suite: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	if got := refusedBy(t, server); len(got) > 0 {
		t.Errorf("refused: %q, want nothing", got)
	}
}

// Each role does what its process does, with the rights of that role alone.
func TestRoles(t *testing.T) {
	server := testenv.StartRedis(t)
	ctx, all, conf := background(), New(server.Client()), openConf()
	name := create(t, all, conf)
	by, lane := caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 1}
	places := join(t, all, name, conf, lane, 5)
	admit(t, all, name, conf, 2)
	before, err := all.Status(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	common := func(l *Lines) error { // what nodes and admitters both do
		_, _, err1 := l.Busy(ctx, "")
		_, errs := l.Pulses(ctx, []room.Name{name})
		_, err2 := l.Deleted(ctx, name)
		return errors.Join(err1, err2, errs[0], l.MarkBusy(ctx, name), l.Recreate(ctx, name, by, before.Saved))
	}
	acts := map[Role]func(l *Lines) map[string]error{
		RoleNode: func(l *Lines) map[string]error {
			done := map[string]error{}
			_, done["rooms"] = l.Rooms(ctx)
			_, done["snapshot"] = l.Snapshot(ctx, name, 0)
			_, done["turn"] = l.Turn(ctx, name, 0)
			_, done["event"] = l.Event(ctx, name)
			_, done["event revs"] = l.EventRevs(ctx, []room.Name{name})
			_, done["join"] = l.Join(ctx, name, by, room.Lane{Name: "a-1", Batch: 1}, visitors(1))
			_, done["rejoin"] = l.Rejoin(ctx, name, by, places)
			_, done["stands"] = l.Stands(ctx, name, places)
			_, done["claim"] = l.Claim(ctx, name, by, places[0])
			done["leave"] = l.Leave(ctx, name, by, places[4])
			done["sign"] = l.Sign(ctx, room.Sign{ID: "n"})
			_, _, done["report"] = l.Report(ctx, name, by)
			_, _, done["present"] = l.Present(ctx, name, by, 0, []byte{1})
			_, done["give back"] = l.GiveBack(ctx, name, by, room.Lane{Name: "a-1", Batch: 1}, false)
			done["common"] = common(l)
			return done
		},
		RoleAdmitter: func(l *Lines) map[string]error {
			done := map[string]error{}
			_, done["rooms"] = l.Rooms(ctx)
			_, done["set"] = l.Set(ctx, name, room.Change{Actor: "flags", Burst: ptr(int64(2_000)), FromFlags: true})
			_, done["status"] = l.Status(ctx, name)
			_, done["admit"] = l.Admit(ctx, name, by, 1)
			entries, err := l.ReadOutbox(ctx, name, 10)
			done["outbox"] = err
			if len(entries) > 0 {
				done["relayed"] = l.Relayed(ctx, name, by, entries)
				done["keep"] = l.Keep(ctx, name, []string{entries[0].ID})
			}
			_, done["finish"] = l.Finish(ctx, name, by, places[0])
			_, done["oldest"] = l.Oldest(ctx, name)
			done["sold out"] = l.soldOut(ctx, name, conf.Epoch, 1)
			done["sign"] = l.Sign(ctx, room.Sign{ID: "a"})
			_, _, done["signs"] = l.Signs(ctx)
			_, done["lanes"] = l.Lanes(ctx, name)
			_, done["give back"] = l.GiveBack(ctx, name, by, lane, true)
			if _, err := l.Away(ctx, name, 10); !errors.Is(err, room.ErrUnsure) {
				done["away"] = err
			}
			if _, err := l.Reap(ctx, name, by, []room.Number{3}); !errors.Is(err, room.ErrUnsure) {
				done["reap"] = err
			}
			_, done["expire"] = l.Expire(ctx)
			done["common"] = common(l)
			return done
		},
		RoleOperator: func(l *Lines) map[string]error {
			done, other := map[string]error{}, roomName(t)
			done["create"] = l.CreateWithEvent(ctx, other, openConf(), room.Event{Title: "x"}, "ann")
			_, done["pause"] = l.Set(ctx, other, room.Change{Actor: "ann", Pause: true})
			_, done["close"] = l.Set(ctx, other, room.Change{Actor: "ann", State: ptr(room.Closed)})
			_, done["open"] = l.Set(ctx, other, room.Change{Actor: "ann", State: ptr(room.Open)})
			_, done["rooms"] = l.Rooms(ctx)
			_, done["status"] = l.Status(ctx, other)
			_, done["acts"] = l.Acts(ctx, other, 5)
			_, done["event"] = l.Event(ctx, other)
			_, done["oldest"] = l.Oldest(ctx, other)
			_, _, done["signs"] = l.Signs(ctx)
			done["delete"] = l.Delete(ctx, other, true, "ann")
			return done
		},
	}
	for _, role := range []Role{RoleNode, RoleAdmitter, RoleOperator} {
		rdb := dial(t, grant(t, server, role))
		if warnings, err := Check(ctx, rdb, role); len(warnings) > 0 || err != nil {
			t.Errorf("%s: check: got %q, %v", role, warnings, err)
		}
		for act, err := range acts[role](New(rdb)) {
			if err != nil {
				t.Errorf("%s: %s: %v", role, act, err)
			}
		}
		if got := refusedBy(t, server); len(got) > 0 {
			t.Errorf("%s: refused: %q, want nothing", role, got)
		}
	}
}

// Who lacks a right is told at the start which one, and by which server; what the
// user may not do in addition is not asked for.
func TestRightsAreChecked(t *testing.T) {
	server := testenv.StartRedis(t)
	for _, c := range []struct {
		change []string
		want   string
	}{
		{[]string{"-info"}, "may not run INFO"},
		{[]string{"-zadd", "-xadd"}, "may not run xadd, zadd on keys wr1:*"},
		{[]string{"-xgroup|create"}, "may not run xgroup|create on"},
		{[]string{"-eval"}, "may not run eval on"},
		{[]string{"-evalsha"}, "may not run evalsha on"},
		{[]string{"-exec"}, "may not run exec on"},
		{[]string{"resetkeys", "~other:*"}, "zadd"},
		{[]string{"+@all", "~*"}, ""},
	} {
		warnings, err := Check(background(), dial(t, grant(t, server, RoleAll, c.change...)), RoleAll)
		if len(warnings) > 0 || (err == nil) != (c.want == "") || err != nil &&
			(!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), server.Addr()) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%v: got %q, %v, want %q", c.change, warnings, err, c.want)
		}
	}
}

// The rights of the scripts are read out of their text, so each call names its
// command as a word, and each script belongs to somebody.
func TestScriptsNameTheirCommands(t *testing.T) {
	files, err := sources.ReadDir("lua")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\bp?call\b[^\n]{0,40}`)
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".lua")
		_, script := parts[name]
		used := false
		for _, front := range parts {
			used = used || slices.Contains(front, name)
		}
		if script && len(scriptRoles[name]) == 0 || script == used {
			t.Errorf("%s: no role in acl.go runs it, or it is no script and no part of one, or both", name)
		}
		for line := range strings.Lines(source(name)) {
			code, _, _ := strings.Cut(line, "--")
			for _, found := range call.FindAllString(code, -1) {
				match := luaCall.FindStringSubmatch(found)
				if match == nil {
					t.Errorf("%s: %q does not name its command", name, found)
				} else if slices.Contains(withParts, strings.ToLower(match[1])) && match[2] == "" {
					t.Errorf("%s: %q does not name its subcommand", name, found)
				}
			}
		}
	}
	for name := range scriptRoles {
		if _, script := parts[name]; !script {
			t.Errorf("%s has roles in acl.go and is no script", name)
		}
	}
}
