package seatmap

import (
	"net/http"

	"waitroom/internal/room"
)

// Plan answers GET …/plan. Under its version (?v=) it never changes, so a browser
// keeps it for good; without one, or under another, it is asked for each time.
// Private: only who was let in may load the shop, and a shared cache could not tell.
// An error means that nothing was written.
func (m *Maps) Plan(w http.ResponseWriter, r *http.Request, name room.Name) error {
	_, v, err := m.look(r.Context(), name)
	if err != nil {
		return err
	}
	keep := "private, no-cache"
	if r.URL.Query().Get("v") == v.plan.version {
		keep = "private, max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", keep)
	v.plan.body.send(w, r, `"`+v.plan.version+`"`)
	return nil
}

// Seats answers GET …/seats: with ?plan a character per seat in the order of the
// plan, without it every seat with its name. ?since= is the version that the visitor
// has seen, perhaps on another booker: the answer is not older. An error means that
// nothing was written.
func (m *Maps) Seats(w http.ResponseWriter, r *http.Request, name room.Name) error {
	q := r.URL.Query()
	if _, _, err := m.look(r.Context(), name); err != nil {
		return err
	}
	m.await(r.Context(), parseVersion(q.Get("since")))
	_, v, err := m.look(r.Context(), name)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-cache") // keep it, but ask each time
	if q.Has("plan") {
		v.body().send(w, r, `W/"`+v.etag()+`"`)
	} else {
		v.list().send(w, r, `W/"`+v.etag()+`-list"`)
	}
	return nil
}
