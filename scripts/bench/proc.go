package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// proc is another process of bench: this program again, in a role. It is asked
// by a line on its standard input and answers with a line of JSON.
type proc struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// spawn starts a role. The process ends when its standard input does, so it
// cannot outlive this one.
func spawn(ctx context.Context, role string, args ...string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"--role", role}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &proc{role, cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// hear waits for the next line of the process.
func (p *proc) hear(reply any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", p.role, err)
	}
	var failure struct{ Failed string }
	if json.Unmarshal(line, &failure) == nil && failure.Failed != "" {
		return fmt.Errorf("%s: %s", p.role, failure.Failed)
	}
	return json.Unmarshal(line, reply)
}

func (p *proc) ask(question string, reply any) error {
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return fmt.Errorf("%s: %w", p.role, err)
	}
	return p.hear(reply)
}

// end closes the standard input and waits.
func (p *proc) end() {
	p.in.Close()
	_ = p.cmd.Wait() // how a role ends after its last answer does not matter
}

// play is the other side: a role of this process, until standard input ends.
func play(ctx context.Context, role string, args []string) error {
	switch role {
	case "node":
		return playNode(ctx, args)
	case "bare":
		return playBare(ctx)
	case "clients":
		return playClients(ctx, args)
	case "replica":
		return playReplica(ctx, args)
	case "booker":
		return playBooker(ctx, args)
	case "buyers":
		return playBuyers(ctx)
	case "file":
		return playFile(args)
	case "raid":
		return playRaid(ctx, os.Stdin)
	}
	return fmt.Errorf("no role %q", role)
}

// answer serves questions until there are no more. A question is a word, and
// perhaps another one that it is about.
func answer(to map[string]func(about string) (any, error)) error {
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		word, about, _ := strings.Cut(questions.Text(), " ")
		do, ok := to[word]
		if !ok {
			return fmt.Errorf("no answer to %q", questions.Text())
		}
		reply, err := do(about)
		if err != nil {
			reply = struct{ Failed string }{err.Error()}
		}
		if err := say(reply); err != nil {
			return err
		}
	}
	return errors.Join(questions.Err())
}

func say(reply any) error { return json.NewEncoder(os.Stdout).Encode(reply) }
