package process

import (
	"fmt"
	"runtime"
)

const (
	// opsSockets bound an ops port: a scraper or two, a supervisor's probes and an
	// operator with a profile are a dozen.
	opsSockets = 32
	// closingSockets are sockets that are being closed for new ones: a close waits
	// until the goroutine that reads has let go, which a busy machine delays.
	closingSockets = 32
	// pageSockets are the least for whoever has no connection yet. A page and its
	// handshake need a tenth of a second on a slow line, so they bear 1,000
	// arrivals a second.
	pageSockets = 128
	// spareSockets are the most that are derived for the same. Each costs about
	// 20 KB with its goroutine, buffers and the collector's share, together 320 MB.
	spareSockets = 16_384
	// keptFiles are the open files that no visitor gets: the ops port's, those of
	// sockets being closed, 32 of a SQL pool, and 32 for Kafka's brokers, two
	// listeners, logs, SQLite's files and the runtime's poller.
	keptFiles = opsSockets + closingSockets + 32 + 32
	// keptPerCore are further ones for each core: the client of Redis keeps up to
	// 10 connections, and a poller has one file.
	keptPerCore = 16
	// manyFiles stands for a limit without an end: no kernel is set to more.
	manyFiles = 1 << 30
)

// Need is what a process needs of its open files for the public, beside sockets
// for pages and what is kept.
type Need struct {
	Flag     string // that decides over it, with its value: "--max-connections 15000"
	Upgraded int    // connections taken out of the HTTP server; who takes them keeps to it
	Besides  int    // other files, one for each of something
}

// allot divides limit open files on a machine of so many cores: it returns how many
// sockets before their upgrade the public port may have. most is --max-sockets.
func allot(limit, cores, most int, need Need) (int, error) {
	kept := keptFiles + keptPerCore*cores
	if least := need.Upgraded + need.Besides + pageSockets + kept; limit < least {
		fewer := ""
		if need.Flag != "" {
			fewer = ", or lower that flag"
		}
		return 0, fmt.Errorf("%s: %w", orPort(need.Flag), tooFew(limit, least, fewer))
	}
	free := limit - kept - need.Besides
	switch {
	case most == 0:
		return min(free-need.Upgraded, spareSockets), nil
	case most > free:
		return 0, fmt.Errorf("--max-sockets %d: %w", most, tooFew(limit, most+kept+need.Besides, ", or lower that flag"))
	case most < need.Upgraded+pageSockets:
		return 0, fmt.Errorf("--max-sockets %d: want at least %d, %d of them for pages, or 0 for what the open files allow: %s needs them",
			most, need.Upgraded+pageSockets, pageSockets, orPort(need.Flag))
	}
	return most - need.Upgraded, nil
}

func tooFew(limit, least int, fewer string) error {
	return fmt.Errorf("needs %d open files, and this process may open %d: raise its limit to %d or more "+
		"(ulimit -Hn in a shell, LimitNOFILE= in a unit of systemd, ulimits: nofile: in compose.yaml)%s", least, limit, least, fewer)
}

func orPort(flag string) string {
	if flag == "" {
		return "the public port"
	}
	return flag
}

// cores is how many the scheduler uses, which is what pools are made for.
func cores() int { return runtime.GOMAXPROCS(0) }
