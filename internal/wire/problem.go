package wire

import (
	"encoding/json"
	"net/http"
	"strconv"

	"waitroom/internal/seat"
)

// Problem is an HTTP error in application/problem+json (RFC 9457). Code is the
// stable name; Seats names the seats that stood in the way of a hold.
type Problem struct {
	Type   string    `json:"type"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Code   Code      `json:"code"`
	Retry  bool      `json:"retry"`
	Seats  []seat.ID `json:"seats,omitempty"`
}

// WriteProblem answers with the table's row for code. A 503 or 429 carries
// Retry-After of retryAfter seconds when it is above 0.
func WriteProblem(w http.ResponseWriter, code Code, retryAfter int, seats ...seat.ID) {
	m := Codes[code]
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(m.HTTP)
	// A failed write means the client went away; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(Problem{Type: "about:blank", Title: m.Text, Status: m.HTTP, Code: code, Retry: m.Retry, Seats: seats})
}
