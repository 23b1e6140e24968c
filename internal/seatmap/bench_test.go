//go:build unix

package seatmap_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
)

// BenchmarkStreams is 2,000 live maps of a hall of 20,000 seats that changes by 250
// seats a second, told four times a second: what one event for all of them costs the
// process, listeners in it included, and what one stream keeps.
func BenchmarkStreams(b *testing.B) {
	const listeners = 2000
	shop := bookingtest.New(b, bookingtest.SQLite(b), 0, nil)
	ids, err := seat.Generate(20_000, 100)
	if err == nil {
		_, err = shop.Store.AddSeats(b.Context(), "gig", ids)
	}
	if err != nil {
		b.Fatal(err)
	}
	m := maps(b, shop.DB, nil)
	s := streams(b, m)
	mustLook(b, m, "gig")
	version := mustLook(b, m, "gig").Version
	before := memory()
	var heard atomic.Int64
	var all sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	for i := range listeners {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		context.AfterFunc(ctx, func() { c.Close() })
		fmt.Fprintf(c, "GET /live?since=%s HTTP/1.1\r\nHost: h\r\nAuthorization: %d\r\n\r\n", version, i)
		all.Go(func() { // ends with end, which closes the connection
			for lines := bufio.NewReaderSize(c, 512); ; {
				line, err := lines.ReadSlice('\n')
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
				if strings.HasPrefix(string(line), "event: changes") {
					heard.Add(1)
				}
			}
		})
	}
	for m.Streams() < listeners {
		time.Sleep(time.Millisecond)
	}
	kept := memory() - before
	began, cpu := time.Now(), processor()
	changed := 0
	for b.Loop() {
		err := shop.DB.Tx(b.Context(), func(tx *sqlx.Tx) error {
			var changes []seat.Seat
			for range 62 {
				changes = append(changes, seat.Seat{ID: ids[changed%len(ids)], State: []seat.State{seat.Held, seat.Free}[changed/len(ids)%2]})
				changed++
			}
			return set(b.Context(), tx, "gig", changes...)
		})
		if err != nil {
			b.Fatal(err)
		}
		for want := heard.Load() + listeners; heard.Load() < want; {
			time.Sleep(5 * time.Millisecond)
		}
	}
	took := time.Since(began)
	b.ReportMetric(float64(kept)/listeners/1024, "KB/stream")
	b.ReportMetric(100*(processor()-cpu).Seconds()/took.Seconds(), "%core")
	b.ReportMetric((processor()-cpu).Seconds()*1e6/float64(heard.Load()), "µs-cpu/event")
	end()
	all.Wait()
	gone(b, m, 0)
}

// memory is what the process keeps, stacks of goroutines included.
func memory() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapInuse + s.StackInuse)
}

// processor is the time of it that the process took.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // of oneself: it can't fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
