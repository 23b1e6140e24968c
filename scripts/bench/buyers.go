package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// What buyers do.
const (
	toHold    = "hold"
	toConfirm = "confirm" // what they hold
	toBuy     = "buy"     // hold, and confirm
	toLook    = "look"    // at the map
)

const (
	// patience is the page's: then it gives a request up.
	patience = 15 * time.Second
	// giveUp is how long after its span a task still sends what is due: more of a
	// backlog says nothing more.
	giveUp = 15 * time.Second
	// backIn is what a 503 says (Retry-After), and what a page does.
	backIn = time.Second
)

// Buyer is a visitor with a pass, and the seat it wants.
type Buyer struct {
	Room room.Name
	Seat seat.ID
	Pass string
	Hold seat.HoldID
}

// Task is what buyers are told to do.
type Task struct {
	Address     string
	What        string
	From, Count int           // which of them; who looks may do so again
	Connections int           // at most, opened before it begins
	PerSecond   float64       // at which they come, whoever is still served; 0: a connection's next buyer comes when one is done
	Span        time.Duration // after which nobody comes any more
}

// Deeds are what became of it.
type Deeds struct {
	Acts   map[string]Times // by what was done
	Others map[string]int   // answers that were no success, and requests lost, by what they were
	TookUS float64
	CPUUS  float64 // of the buyers' process
	Bytes  int     // of the last answer's body
	Zipped bool    // it was
	Whole  int     // buyers whose all was done
}

// Times are how long requests took, since they were due, in ms.
type Times struct {
	N                  int
	P50, P95, P99, Max float64
}

// connection is what a buyer needs of a socket.
type connection interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// link is a connection that is kept alive. It belongs to one request at a time.
type link struct {
	dial func() (connection, error)
	conn connection // nil: to be dialled
	in   *bufio.Reader
}

// ask makes one request. After an error the next one dials anew.
func (l *link) ask(method, path, pass, body string) (status int, answer []byte, err error) {
	defer func() {
		if err != nil && l.conn != nil {
			l.conn.Close()
			l.conn = nil
		}
	}()
	if l.conn == nil {
		if l.conn, err = l.dial(); err != nil {
			return 0, nil, err
		}
		l.in = bufio.NewReader(l.conn)
	}
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	request := method + " " + path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + pass + "\r\nAccept-Encoding: gzip\r\n"
	if method == http.MethodPost {
		request += "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if _, err := io.WriteString(l.conn, request+"\r\n"+body); err != nil {
		return 0, nil, err
	}
	r, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(r.Body)
	if err == nil && r.Close {
		l.conn.Close()
		l.conn = nil
	}
	return r.StatusCode, answer, err
}

// buyers are a crowd of them on a pool of connections.
type buyers struct {
	list []*Buyer
	dial func(address string, i int) (connection, error)

	mu    sync.Mutex
	times map[string][]float64
	deeds Deeds
}

// playBuyers: nothing. They are given to it by a file, and told by tasks.
func playBuyers(ctx context.Context) error {
	crowd := &buyers{dial: func(address string, i int) (connection, error) {
		return dial(address, firstSource+i%250) // as many addresses as one byte has, so that no limit of one is measured
	}}
	if err := say(true); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"load": func(path string) (any, error) {
			crowd.list = nil
			file, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			return true, json.Unmarshal(file, &crowd.list)
		},
		"do": func(about string) (any, error) {
			var o Task
			if err := json.Unmarshal([]byte(about), &o); err != nil {
				return nil, err
			}
			return crowd.do(ctx, o)
		},
	})
}

// do carries out a task.
func (c *buyers) do(ctx context.Context, o Task) (Deeds, error) {
	if len(c.list) == 0 || (o.What != toLook && o.From+o.Count > len(c.list)) {
		return Deeds{}, fmt.Errorf("%d buyers from %d on, of %d", o.Count, o.From, len(c.list))
	}
	c.times, c.deeds = map[string][]float64{}, Deeds{Acts: map[string]Times{}, Others: map[string]int{}}
	free := make(chan *link, o.Connections)
	for i := range o.Connections {
		l := &link{dial: func() (connection, error) { return c.dial(o.Address, i) }}
		var err error
		if l.conn, err = l.dial(); err != nil {
			return Deeds{}, err
		}
		l.in = bufio.NewReader(l.conn)
		free <- l
	}
	before, err := processor()
	if err != nil {
		return Deeds{}, err
	}
	began := time.Now()
	end := began.Add(o.Span)
	act := func(ctx context.Context, i int, due time.Time) error {
		var l *link
		select {
		case l = <-free:
		case <-ctx.Done():
			c.mu.Lock()
			c.deeds.Others["never sent"]++
			c.mu.Unlock()
			return ctx.Err()
		}
		defer func() { free <- l }()
		return c.visit(ctx, l, o, c.list[(o.From+i)%len(c.list)], due, end)
	}
	var t tally
	if o.PerSecond > 0 {
		t = onTime(ctx, o.PerSecond, o.Count, o.Span+giveUp, act)
	} else {
		t = callers(ctx, o.Connections, o.Count, o.Span, func(ctx context.Context, i int) error { return act(ctx, i, time.Now()) })
	}
	after, err := processor()
	if err != nil {
		return Deeds{}, err
	}
	for range o.Connections {
		if l := <-free; l.conn != nil {
			l.conn.Close()
		}
	}
	for what, times := range c.times {
		c.deeds.Acts[what] = Times{len(times), quantile(times, 0.5), quantile(times, 0.95), quantile(times, 0.99), quantile(times, 1)}
	}
	c.deeds.TookUS, c.deeds.CPUUS, c.deeds.Whole = float64(t.took.Microseconds()), after-before, len(t.times)
	return c.deeds, nil
}

// visit is what one buyer does. A 503 is counted; in the closed loop the buyer then
// comes back as a page does, until the end.
func (c *buyers) visit(ctx context.Context, l *link, o Task, b *Buyer, due, end time.Time) error {
	holds := "/rooms/" + string(b.Room) + "/holds"
	request := func(what, method, path, body string, want int) ([]byte, error) {
		for {
			status, answer, err := l.ask(method, path, b.Pass, body)
			took := time.Since(due).Seconds() * 1e3
			if err == nil && status == want {
				c.mu.Lock()
				c.times[what] = append(c.times[what], took)
				c.mu.Unlock()
				return answer, nil
			}
			word := fmt.Sprint(status)
			var problem struct{ Code string }
			switch {
			case err != nil:
				word = "lost: " + strings.TrimSpace(err.Error())
			case json.Unmarshal(answer, &problem) == nil:
				word += " " + problem.Code
			}
			c.mu.Lock()
			c.deeds.Others[word]++
			c.mu.Unlock()
			back := backIn/2 + rand.N(backIn)
			if status != http.StatusServiceUnavailable || o.PerSecond > 0 || time.Now().Add(back).After(end) {
				return nil, errors.New(word)
			}
			if err := pause(ctx, back); err != nil {
				return nil, err
			}
			due = time.Now()
		}
	}
	if o.What == toLook {
		_, err := request(toLook, http.MethodGet, mapPath(b.Room), "", http.StatusOK)
		return err
	}
	if o.What != toConfirm {
		answer, err := request(toHold, http.MethodPost, holds, `{"seats":["`+string(b.Seat)+`"]}`, http.StatusCreated)
		if err != nil {
			return err
		}
		var held struct{ ID seat.HoldID }
		if err := json.Unmarshal(answer, &held); err != nil {
			return err
		}
		b.Hold = held.ID
		due = time.Now()
	}
	if o.What != toHold {
		_, err := request(toConfirm, http.MethodPost, holds+"/"+string(b.Hold)+"/confirm", "", http.StatusOK)
		return err
	}
	return nil
}

// send starts a process of buyers for the shoppers, with signed passes.
func (g *shopGround) send(ctx context.Context, list []*shopper) (*proc, error) {
	all := make([]Buyer, len(list))
	for i, s := range list {
		pass, err := g.keys.Pass(s.pass.Admission, s.pass.Expires)
		if err != nil {
			return nil, err
		}
		all[i] = Buyer{s.pass.Room, s.seat, pass, s.hold}
	}
	file, err := os.CreateTemp(g.dir, "buyers")
	if err != nil {
		return nil, err
	}
	err = errors.Join(json.NewEncoder(file).Encode(all), file.Close())
	if err != nil {
		return nil, err
	}
	p, err := spawn(ctx, "buyers")
	if err != nil {
		return nil, err
	}
	var ok bool
	if err := errors.Join(p.hear(&ok), p.ask("load "+file.Name(), &ok)); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// task has buyers do something, and waits for it.
func task(p *proc, o Task) (d Deeds, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return d, err
	}
	return d, p.ask("do "+string(text), &d)
}
