package main

import (
	"fmt"
	"regexp"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/secret"
)

type aclCmd struct {
	Role         string `help:"Whose rights: node (waitroom), admitter (admitter run), operator (its other commands) or all." enum:"node,admitter,operator,all" default:"all"`
	User         string `help:"Name of the user." default:"waitroom"`
	PasswordFile string `help:"File with the user's password, which is printed as its SHA-256. Without it the line has a word to be replaced." placeholder:"FILE"`
}

// What Redis takes in its ACL file without quotes.
var aclUser = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (c *aclCmd) Check() error {
	if !aclUser.MatchString(c.User) {
		return fmt.Errorf("--user %q: want 1 to 64 letters, digits, dots, dashes and underscores", c.User)
	}
	return nil
}

// Run prints the line; it asks no Redis.
func (c *aclCmd) Run(env *process.Env) error {
	password := ""
	if c.PasswordFile != "" {
		var err error
		if password, err = secret.Read(c.PasswordFile); err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
	}
	fmt.Fprintln(env.Out, line.ACL(c.User, line.Role(c.Role), password))
	return nil
}
