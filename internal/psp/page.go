package psp

import (
	"html/template"
	"net/http"
	"net/url"
	"sync"

	"waitroom/internal/payment"
)

// maxReturns bounds where browsers are to go back to; of more the oldest are forgotten,
// and those payers stay on the page, which says so. They are not in the journal: an
// address may hold what a shop would not have written down.
const maxReturns = 10_000

// returns is where each payer goes after the page, by the payment's id.
type returns struct {
	mu    sync.Mutex
	to    map[string]string
	order []string
}

func (r *returns) put(id, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) == maxReturns {
		delete(r.to, r.order[0])
		r.order = r.order[1:]
	}
	r.to[id] = to
	r.order = append(r.order, id)
}

func (r *returns) of(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to[id]
}

var pageTemplate = template.Must(template.New("pay").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Test payment</title>
<style>body{font:1.1rem/1.5 sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem}button{font:inherit;padding:.6rem 1.2rem;margin-right:.6rem}</style>
<h1>Test payment</h1>
<p>A shop asks for <b>{{.Amount}} {{.Currency}}</b>, in minor units. No money is taken.</p>
{{if .Open}}<form method="post"><button name="answer" value="approve">Approve</button><button name="answer" value="refuse">Refuse</button></form>
{{else}}<p>This payment is {{.State}}. You may close this page.</p>{{end}}
</html>
`))

func showPage(w http.ResponseWriter, status int, p payment.Payment) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, struct { // the browser may be gone
		payment.Payment
		Open bool
	}{p, p.State == payment.Pending})
}

// page asks the payer.
func (s *Service) page(w http.ResponseWriter, r *http.Request) {
	key, ok := s.ledger.keyOf(r.PathValue("id"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	p, err := s.ledger.find(key)
	if err != nil {
		http.Error(w, "the ledger can't be read", http.StatusInternalServerError)
		return
	}
	showPage(w, http.StatusOK, p)
}

// decide takes the payer's answer. What was decided before stays: a button that is pressed
// twice brings the payer back twice.
func (s *Service) decide(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	id := r.PathValue("id")
	key, ok := s.ledger.keyOf(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	e := Entry{Payment: key}
	switch r.PostFormValue("answer") {
	case "approve":
		e.Act = approve
	case "refuse":
		e.Act, e.Reason = refuse, payment.ReasonPayer
	default:
		http.Error(w, "want answer=approve or answer=refuse", http.StatusBadRequest)
		return
	}
	_, _, err := s.ledger.do(e)
	decided := err == nil || err == errState
	p, err := s.ledger.find(key)
	if err != nil || !decided {
		http.Error(w, "the ledger can't be written", http.StatusInternalServerError)
		return
	}
	to, err := url.Parse(s.returns.of(id))
	if err != nil || to.Host == "" {
		showPage(w, http.StatusOK, p)
		return
	}
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// newReturns makes an empty table.
func newReturns() *returns { return &returns{to: map[string]string{}} }
