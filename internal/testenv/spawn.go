package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// spawn starts a server that dies with this process; exited is closed once it has ended.
func spawn(cmd *exec.Cmd) (process *os.Process, exited chan struct{}, err error) {
	dieWithParent(cmd)
	started, exited := make(chan error), make(chan struct{})
	// Ends with the process; its owner's end waits for it. The parent of dieWithParent is
	// the thread that started the process, so this goroutine keeps one for itself.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is of no interest, the log tells
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return cmd.Process, exited, nil
}

// withEnd is err with the end of a server's log.
func withEnd(err error, log string) error {
	lines, _ := os.ReadFile(log)
	return fmt.Errorf("%w; its log ends with:\n%s", err, lines[max(0, len(lines)-2000):])
}
