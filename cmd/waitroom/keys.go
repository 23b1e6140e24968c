package main

import (
	"errors"
	"fmt"
	"io/fs"

	"waitroom/internal/process"
	"waitroom/internal/token"
)

type keysCmd struct {
	New     newKeyCmd  `cmd:"" help:"Make a new signing key in front of those of a file; the file is made if it is absent."`
	Promote promoteCmd `cmd:"" help:"Let the standby key sign, once every node has restarted with it."`
}

type newKeyCmd struct {
	File    string `help:"The key file, mode 0600." required:"" type:"path" env:"WAITROOM_KEYS"`
	Standby bool   `help:"The new key verifies only, until keys promote: with several nodes, each must know a key before one signs with it."`
	Drop    int    `help:"Also remove so many of the oldest keys; only once no token of theirs can be alive." default:"0"`
}

// Check reports a wrong value.
func (c *newKeyCmd) Check() error {
	if c.Drop < 0 {
		return fmt.Errorf("--drop %d: want 0 or more", c.Drop)
	}
	return nil
}

// Run makes the key and prints its kid; the private half goes to the file only.
func (c *newKeyCmd) Run(env *process.Env) error {
	key, err := token.NewKey()
	if err != nil {
		return err
	}
	old, err := token.LoadFile(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		ring, err := token.NewKeyring(key)
		return save(env, ring, err, c.File, fmt.Sprintf("%s signs. Give the file to every node", key))
	}
	if err == nil {
		old, err = old.Drop(c.Drop)
	}
	if err != nil {
		return err
	}
	if c.Standby {
		ring, err := old.Standby(key)
		return save(env, ring, err, c.File, fmt.Sprintf("%s stands by. Restart every node, then run keys promote", key))
	}
	ring, err := old.Prepend(key)
	return save(env, ring, err, c.File, fmt.Sprintf("%s signs from the next start on", key))
}

type promoteCmd struct {
	File string `help:"The key file, mode 0600." required:"" type:"path" env:"WAITROOM_KEYS"`
}

// Run lets the standby key sign.
func (c *promoteCmd) Run(env *process.Env) error {
	old, err := token.LoadFile(c.File)
	if err != nil {
		return err
	}
	ring, err := old.Promote()
	if err != nil {
		return err
	}
	return save(env, ring, nil, c.File, fmt.Sprintf("key %s signs from the next start on", ring.SigningID()))
}

func save(env *process.Env, ring *token.Keyring, err error, file, done string) error {
	if err != nil {
		return err
	}
	if err := ring.WriteFile(file); err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "%s (%s).\n", done, file)
	return nil
}
