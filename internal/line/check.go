package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// leastVersion is the first Redis whose ACL knows subcommands and whose scripts can
// be asked about rights, and the oldest that the tests run on.
const leastVersion = 7

// Check asks the server, or each master of a cluster, whether it is fit to hold a
// line, and says of which. With err the process must not start: it could not work, or
// not on that server. Warnings are what may lose a line, or stop it. A server that
// does not tell (miniredis) gets none.
func Check(ctx context.Context, rdb redis.UniversalClient, role Role) (warnings []string, err error) {
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex // guards found: the masters are asked at once
		var found findings
		err := c.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			one := checkOne(ctx, master, role, true)
			mu.Lock()
			defer mu.Unlock()
			found.warn, found.stop = append(found.warn, one.warn...), append(found.stop, one.stop...)
			return nil
		})
		if err != nil {
			found.warn = append(found.warn, fmt.Sprintf("redis: the masters of the cluster can't be listed: %v", err))
		}
		return found.warn, errors.Join(found.stop...)
	case *redis.Client:
		found := checkOne(ctx, c, role, false)
		return found.warn, errors.Join(found.stop...)
	}
	return nil, nil
}

// findings are of one server.
type findings struct {
	where string
	warn  []string
	stop  []error
}

func (f *findings) warnf(format string, args ...any) {
	f.warn = append(f.warn, "redis "+f.where+": "+fmt.Sprintf(format, args...))
}

func (f *findings) stopf(format string, args ...any) {
	f.stop = append(f.stop, fmt.Errorf("redis "+f.where+": "+format, args...))
}

func checkOne(ctx context.Context, c *redis.Client, role Role, inCluster bool) findings {
	f := findings{where: c.Options().Addr}
	text, err := c.Info(ctx).Result()
	switch {
	case refused(err, "NOPERM"):
		f.stopf("the user may not run INFO, without which a lost write stays unseen; give it the rights that `admitter acl` prints")
		return f
	case err != nil && isAnswer(err): // miniredis knows no such section
		return f
	case err != nil:
		f.warnf("it could not be asked about its settings: %v", err)
		return f
	}
	info := parseInfo(text)
	if f.where == "FailoverClient" { // the client's own word for the master behind Sentinels
		f.where = "of the Sentinels, port " + info["tcp_port"]
	}
	f.version(info)
	if len(f.stop) == 0 {
		f.rights(ctx, c, role)
	}
	f.place(info, inCluster)
	f.settings(info)
	f.replicas(info)
	if inCluster {
		f.slots(ctx, c)
	}
	return f
}

func (f *findings) version(info map[string]string) {
	version, told := info["redis_version"]
	major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	if told && err == nil && major < leastVersion {
		f.stopf("version %s, want %d.0 or newer: nothing here has been tested with an older one", version, leastVersion)
	}
}

// place is about the server's part: a Sentinel, a replica, a node of a cluster.
func (f *findings) place(info map[string]string, inCluster bool) {
	switch mode := info["redis_mode"]; {
	case mode == "sentinel":
		f.stopf("this is a Sentinel and holds no data; write redis-sentinel://host:26379/name with the name of its master")
		return
	case mode == "cluster" && !inCluster:
		f.stopf("this is a node of a cluster, which holds a part of the rooms; write redis-cluster:// instead of redis://")
		return
	}
	if info["role"] != "slave" {
		return
	}
	if inCluster { // a failover under way: the client follows it
		f.warnf("it became a replica a moment ago; if that stays, a part of the rooms has no master")
		return
	}
	f.stopf("this is a replica of %s:%s and takes no writes; name the master, or its Sentinels", info["master_host"], info["master_port"])
}

// settings are about what a restart, and what full memory does to a line.
func (f *findings) settings(info map[string]string) {
	if info["aof_enabled"] == "0" {
		f.warnf("it writes no append-only file, so a restart loses every line; set appendonly yes")
	}
	if info["aof_last_write_status"] == "err" {
		f.warnf("it can't write its append-only file and refuses all changes until it can; look at its disk and its log")
	}
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		f.warnf("maxmemory-policy %s may throw a line away when memory is full; set noeviction", policy)
	}
	used, _ := strconv.ParseInt(info["used_memory"], 10, 64)
	most, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	if most > 0 && used >= most {
		f.warnf("its memory is full (%d of %d MB), so nobody can join; raise maxmemory", used>>20, most>>20)
	}
}

// replicas is advice where there are some: a master cut off from them goes on
// taking writes that the promoted one will not have.
func (f *findings) replicas(info map[string]string) {
	if good, told := info["min_slaves_good_slaves"]; told && good == "0" {
		f.warnf("min-replicas-to-write is not met and no change is taken; bring a replica back")
		return
	} else if n, err := strconv.Atoi(info["connected_slaves"]); told || err != nil || n == 0 {
		return
	}
	f.warnf("it has replicas and min-replicas-to-write 0, so a master that is cut off goes on and what it took is lost; " +
		"set min-replicas-to-write 1 and min-replicas-max-lag 10")
}

func (f *findings) slots(ctx context.Context, c *redis.Client) {
	text, err := c.ClusterInfo(ctx).Result()
	if err != nil {
		return // the rights have been looked at
	}
	info := parseInfo(text)
	state, good := info["cluster_state"], info["cluster_slots_ok"]
	if n, err := strconv.Atoi(good); err == nil && (n < 16384 || state != "ok") {
		f.warnf("the cluster is in state %q and %d of 16384 slots are served; rooms in the others stand still; bring their masters back", state, n)
	}
}

// rights asks Redis itself whether this user may run what the role needs, on the
// line's keys. It runs none of it.
func (f *findings) rights(ctx context.Context, c *redis.Client, role Role) {
	const ask = `
		if not redis.acl_check_cmd then return {} end
		local missing = {}
		for _, line in ipairs(ARGV) do
			local words = {}
			for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
			local known, may = pcall(redis.acl_check_cmd, unpack(words))
			if known and not may then missing[#missing + 1] = line end
		end
		return missing`
	commands := Commands(role)
	args := make([]any, len(commands))
	names := make(map[string]string, len(commands))
	for i, name := range commands {
		line := sample(name)
		args[i], names[line] = line, name
	}
	// Without a key it runs on any node of a cluster.
	missing, err := c.Eval(ctx, ask, nil, args...).StringSlice()
	switch {
	case refused(err, "NOPERM"):
		missing = []string{sample("eval")}
	case err != nil:
		return // it does not tell
	}
	if len(missing) == 0 {
		return
	}
	for i, line := range missing {
		missing[i] = names[line]
	}
	f.stopf("the user may not run %s on keys %s; give it the rights that `admitter acl` prints", strings.Join(missing, ", "), Keys)
}

// sample is a call of a command on a key of the line, as far as its rights are
// concerned: the key where Redis looks for it.
func sample(command string) string {
	const key = "wr1:{-}:acl" // no room has this name
	name, part, _ := strings.Cut(command, "|")
	switch name {
	case "ping", "select", "info", "cluster", "asking", "multi", "exec", "time", "script":
		return strings.TrimSpace(name + " " + part)
	case "eval", "evalsha":
		return name + " x 1 " + key
	case "xgroup":
		return name + " " + part + " " + key + " g 0"
	case "xreadgroup":
		return name + " group g c streams " + key + " >"
	}
	// The key in each place: some commands take several.
	return strings.Join([]string{name, key, key, key}, " ")
}

// parseInfo reads what INFO and CLUSTER INFO answer: name:value in lines.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			info[name] = value
		}
	}
	return info
}

func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

func refused(err error, word string) bool {
	return isAnswer(err) && strings.HasPrefix(err.Error(), word)
}
