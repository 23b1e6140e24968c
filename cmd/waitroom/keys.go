package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"waitroom/internal/process"
	"waitroom/internal/token"
)

type keysCmd struct {
	New newKeyCmd `cmd:"" help:"Make a new signing key in front of those of a file; the file is made if it is absent."`
}

type newKeyCmd struct {
	File string `help:"The key file, mode 0600." required:"" type:"path" env:"WAITROOM_KEYS"`
	Drop int    `help:"Also remove so many of the oldest keys; only once no token of theirs can be alive." default:"0"`
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
	var ring *token.Keyring
	if _, err := os.Stat(c.File); errors.Is(err, fs.ErrNotExist) {
		ring, err = token.NewKeyring(key)
		if err != nil {
			return err
		}
	} else {
		old, err := token.LoadFile(c.File)
		if err != nil {
			return err
		}
		if old, err = old.Drop(c.Drop); err != nil {
			return err
		}
		if ring, err = old.Prepend(key); err != nil {
			return err
		}
	}
	if err := ring.WriteFile(c.File); err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "%s signs now, in %s. Give every node the file before you restart one.\n", key, c.File)
	return nil
}
