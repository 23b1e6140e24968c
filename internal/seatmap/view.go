package seatmap

import (
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"waitroom/internal/seat"
)

// version names what somebody has seen of a map: "k3x9q2ap.17.10532".
type version struct {
	life string // of one room in the memory of one process, with one plan
	n    int64  // +1 with each view of that life
	at   int64  // the log's id up to which the view is complete, for other processes
}

// newLife is 40 random bits: what a page of another process, or of an earlier life
// of the room, has seen is not mistaken for ours.
func newLife() string { return strings.ToLower(rand.Text()[:8]) }

func (v version) String() string {
	return v.life + "." + strconv.FormatInt(v.n, 10) + "." + strconv.FormatInt(v.at, 10)
}

// parseVersion reads what a visitor sends; what is no version is one that nobody has.
func parseVersion(s string) (v version) {
	life, rest, _ := strings.Cut(s, ".")
	n, at, _ := strings.Cut(rest, ".")
	v.life = life
	v.n, _ = strconv.ParseInt(n, 10, 64)
	v.at, _ = strconv.ParseInt(at, 10, 64)
	return v
}

// view is a room's map at one moment, as everybody sees it until the next. What is
// sent of it is made once, when it is first asked for.
type view struct {
	version version
	plan    *plan
	states  []state
	over    chan struct{} // closed when the next view is there
	event   []byte        // the changes since the view before; nil: there is none of this life

	etagOnce, bodyOnce, listOnce sync.Once
	tag                          string
	packedBody, packedList       packed
}

// etag is the same on every booker for the same seats, so that a visitor who comes
// to another one need not load them again. Weak: the versions beside them differ.
func (v *view) etag() string {
	v.etagOnce.Do(func() {
		sum := sha256.New()
		sum.Write([]byte(v.plan.version))
		sum.Write(v.states)
		v.tag = hex.EncodeToString(sum.Sum(nil)[:12])
	})
	return v.tag
}

// wholeBody is a map without its names.
type wholeBody struct {
	Version string `json:"version"`
	Plan    string `json:"plan"`
	Seats   string `json:"seats"` // a character each, in the order of the plan
}

// whole is the map as JSON.
func (v *view) whole() []byte {
	b, _ := json.Marshal(wholeBody{v.version.String(), v.plan.version, string(v.states)}) // texts only
	return b
}

// body is whole, for an answer.
func (v *view) body() packed {
	v.bodyOnce.Do(func() { v.packedBody = pack(v.whole(), gzip.BestCompression) })
	return v.packedBody
}

// list is the map with the names of seats and states, for tools that keep no plan.
func (v *view) list() packed {
	v.listOnce.Do(func() {
		all := struct {
			Seats []seat.Seat `json:"seats"`
		}{make([]seat.Seat, len(v.states))}
		for i, s := range v.states {
			all.Seats[i] = seat.Seat{ID: v.plan.ids[i], State: wordOf(s)}
		}
		b, _ := json.Marshal(all)              // texts only
		v.packedList = pack(b, gzip.BestSpeed) // of a hundred times the bytes
	})
	return v.packedList
}

// wholeEvent is the whole map for a stream.
func (v *view) wholeEvent() []byte { return event("seats", v.version, v.whole()) }

// changeEvent tells the seats at the indices, unless the whole map is shorter.
func (v *view) changeEvent(changed []int32) []byte {
	byState := map[string][]int32{}
	for _, i := range changed {
		s := string(v.states[i])
		byState[s] = append(byState[s], i)
	}
	b, _ := json.Marshal(struct {
		Version string             `json:"version"`
		Changes map[string][]int32 `json:"changes"`
	}{v.version.String(), byState}) // texts and numbers only
	if len(b) > len(v.states)+200 { // a whole map has a hundred bytes beside its seats
		return v.wholeEvent()
	}
	return event("changes", v.version, b)
}

// event is one event of a stream, as the HTML standard writes it (9.2.5).
func event(kind string, v version, data []byte) []byte {
	b := make([]byte, 0, len(data)+100)
	b = append(b, "event: "+kind+"\n"...)
	if v.life != "" {
		b = append(b, "id: "+v.String()+"\n"...)
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}
