package main

import (
	"errors"
	"fmt"
	"io/fs"

	"waitroom/internal/process"
	"waitroom/internal/token"
)

type keysCmd struct {
	New     newKeyCmd  `cmd:"" help:"Make a file with a signing key; for a file that exists say --standby, or --force."`
	Promote promoteCmd `cmd:"" help:"Let the standby key sign, once every node has restarted with it."`
}

type newKeyCmd struct {
	File    string `help:"The key file, mode 0600." required:"" type:"path" env:"WAITROOM_KEYS"`
	Standby bool   `help:"The new key verifies only, until keys promote: with several nodes, each must know a key before one signs with it."`
	Force   bool   `help:"The new key signs from each node's next start on, in a file that has keys: for a single node only, since the others call its tokens foreign."`
	Drop    int    `help:"Also remove so many of the oldest keys; only once no token of theirs can be alive." default:"0"`
}

// Check reports a wrong value.
func (c *newKeyCmd) Check() error {
	var errs []error
	if c.Drop < 0 {
		errs = append(errs, fmt.Errorf("--drop %d: want 0 or more", c.Drop))
	}
	if c.Standby && c.Force {
		errs = append(errs, errors.New("--standby, --force: want one of them: the new key either waits or signs"))
	}
	return errors.Join(errs...)
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
	if err == nil && !c.Standby && !c.Force {
		// Nodes that have not read it would call what it signs foreign, and pages
		// would drop their places.
		return fmt.Errorf("%s has keys: say --standby for a new key that verifies only, until keys promote, "+
			"or --force for one that signs at once, which is for a single node", c.File)
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

// loadKeys reads the keys of a node, which starts with them or not at all.
func loadKeys(file string) (*token.Keyring, error) {
	keys, err := token.LoadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--keys: %w; copy it from another node, or make the first one: waitroom keys new --file %s", err, file)
	}
	if err != nil {
		return nil, fmt.Errorf("--keys: %w", err)
	}
	return keys, nil
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
