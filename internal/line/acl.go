package line

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Role is what a process does with the line, and so which commands it needs.
type Role string

const (
	RoleNode     Role = "node"     // waitroom
	RoleAdmitter Role = "admitter" // admitter run
	RoleOperator Role = "operator" // the other commands of admitter
	RoleAll      Role = "all"
)

// scriptRoles says who runs which script: each of parts.
var scriptRoles = map[string][]Role{
	"create":    {RoleOperator},
	"set":       {RoleAdmitter, RoleOperator},
	"stock":     {RoleAdmitter},
	"expire":    {RoleAdmitter},
	"list":      {RoleOperator},
	"closing":   {RoleAdmitter, RoleOperator},
	"group":     {RoleAdmitter},
	"present":   {RoleNode},
	"reap":      {RoleAdmitter},
	"report":    {RoleNode, RoleAdmitter},
	"give_back": {RoleNode, RoleAdmitter},
	"recreate":  {RoleNode, RoleAdmitter, RoleOperator},
	"delete":    {RoleOperator},
	"join":      {RoleNode},
	"rejoin":    {RoleNode},
	"stands":    {RoleNode},
	"admit":     {RoleAdmitter},
	"claim":     {RoleNode},
	"leave":     {RoleNode},
	"finish":    {RoleAdmitter},
	"relayed":   {RoleAdmitter},
	"look":      {RoleNode, RoleAdmitter, RoleOperator},
	"sign":      {RoleNode, RoleAdmitter},
	"signs":     {RoleAdmitter, RoleOperator},
}

// plainCommands are those that the Go code sends by itself, by who does. The suite
// runs as a user with no other rights.
var plainCommands = map[string][]Role{
	// The client: its hand-shake (HELLO and AUTH need no right), a cluster's map, a
	// slot on its way, the start's questions.
	"ping select info cluster|slots cluster|info asking": {RoleNode, RoleAdmitter, RoleOperator},
	// Scripts and looks.
	"eval evalsha multi exec get zrange getrange zcard hgetall xlen sismember": {RoleNode, RoleAdmitter, RoleOperator},
	// Rooms, which takes off the registry what expired.
	"smembers zrangebyscore exists srem zrem sadd": {RoleNode, RoleAdmitter, RoleOperator},
	// Events.
	"hmget": {RoleNode, RoleAdmitter, RoleOperator},
	// The outbox.
	"xgroup|create xautoclaim xreadgroup xclaim": {RoleAdmitter},
	// Lanes of batches that nobody heard of.
	"hdel": {RoleAdmitter},
	// Marks of busy rooms.
	"xadd":             {RoleNode, RoleAdmitter, RoleOperator},
	"xrange xrevrange": {RoleNode, RoleAdmitter, RoleOperator},
	// Closing, creating, and the audit stream.
	"zadd":  {RoleAdmitter, RoleOperator},
	"scard": {RoleOperator},
}

// A command of a script, and its subcommand where one is named.
var luaCall = regexp.MustCompile(`\bp?call\(\s*'([A-Za-z]+)'(?:\s*,\s*'([A-Za-z]+)')?`)

// withParts are the commands whose rights are given by subcommand.
var withParts = []string{"xgroup", "xinfo", "cluster", "script", "object", "memory"}

// Commands returns what a role needs, in order: names as ACL has them. Those of the
// scripts are read out of the scripts.
func Commands(role Role) []string {
	has := func(roles []Role) bool { return role == RoleAll || slices.Contains(roles, role) }
	var all []string
	for names, roles := range plainCommands {
		if has(roles) {
			all = append(all, strings.Fields(names)...)
		}
	}
	for name, roles := range scriptRoles {
		if !has(roles) {
			continue
		}
		for _, call := range luaCall.FindAllStringSubmatch(whole(name), -1) {
			command := strings.ToLower(call[1])
			if slices.Contains(withParts, command) {
				command += "|" + strings.ToLower(call[2])
			}
			all = append(all, command)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Keys is the pattern of all keys of the line.
const Keys = "wr1:*"

// ACL is a line of Redis's ACL file: a user with the least rights of a role. Without
// its first word it follows ACL SETUSER. The password stands there as its SHA-256;
// for none there is a word to be replaced.
func ACL(user string, role Role, password string) string {
	word := ">PASSWORD"
	if password != "" {
		word = fmt.Sprintf("#%x", sha256.Sum256([]byte(password)))
	}
	return fmt.Sprintf("user %s on %s resetchannels ~%s -@all +%s", user, word, Keys, strings.Join(Commands(role), " +"))
}
