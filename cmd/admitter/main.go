// The admitter lets visitors of waiting rooms through, and is the operator's
// tool for them: `admitter run` is the process, every other command shows or
// changes a live room and ends.
package main

import "waitroom/internal/process"

type cli struct {
	process.Logging `embed:""`

	Run    runCmd    `cmd:"" help:"Serve rooms: admit, relay to Kafka, apply booking facts. Any number of replicas."`
	Room   roomCmd   `cmd:"" help:"Create, open, close, delete and list rooms."`
	Set    setCmd    `cmd:"" help:"Change a live room."`
	Pause  pauseCmd  `cmd:"" help:"Stop admitting; joins and claims go on, deadlines run."`
	Resume resumeCmd `cmd:"" help:"Admit again after a pause."`
	Status statusCmd `cmd:"" help:"Show one room, or all of them."`
	ACL    aclCmd    `cmd:"" name:"acl" help:"Print the least rights that Redis must give us, as a line of its ACL file."`
}

func main() {
	process.Main("admitter", "Lets visitors of waiting rooms through.", &cli{})
}
