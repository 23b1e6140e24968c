package psp

// Card is a test card: its token is the method of an authorisation.
type Card struct {
	Token string
	Does  string // for whoever chooses one, in a few words
}

// Cards are the test cards. Any other token is declined as card_unknown.
var Cards = []Card{
	{"card_ok", "pays"},
	{"card_declined", "is declined by the bank"},
	{"card_insufficient", "has not enough money"},
	{"card_redirect", "asks the payer on a page of the service"},
	{"card_slow", "pays after some seconds"},
	{"card_timeout", "pays, and the answer never comes"},
	{"card_500", "makes the service fail: nothing is done"},
	{"card_html", "brings an HTML page for an answer: nothing is done"},
	{"card_late_callback", "pays, and its callbacks come late"},
	{"card_double_callback", "pays, and its callbacks come twice"},
	{"card_forged_callback", "pays, and a stranger sends callbacks as well"},
}

const (
	cardOK       = "card_ok"
	cardDeclined = "card_declined"
	cardFunds    = "card_insufficient"
	cardRedirect = "card_redirect"
	cardSlow     = "card_slow"
	cardTimeout  = "card_timeout"
	card500      = "card_500"
	cardHTML     = "card_html"
	cardLate     = "card_late_callback"
	cardDouble   = "card_double_callback"
	cardForged   = "card_forged_callback"
)

// isCard reports whether a token is of a test card.
func isCard(token string) bool {
	for _, c := range Cards {
		if c.Token == token {
			return true
		}
	}
	return false
}
