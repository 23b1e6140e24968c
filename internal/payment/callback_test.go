package payment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var moment = time.Unix(1_800_000_000, 0)

const theEvent = `{"id":"evt_1","created_ms":1800000000123,"payment":{"key":"attempt-00000001","id":"pay_1","state":"captured","amount":4500,"currency":"EUR","captured":4500,"refunded":0}}`

// by is a header as another maker writes it, from the definition.
func by(secret, stamp, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(h, "%s.%s", stamp, body)
	return "v1=" + hex.EncodeToString(h.Sum(nil))
}

func TestVerifyCallback(t *testing.T) {
	now := fmt.Sprint(moment.Unix())
	signed := func(body string) string { return "t=" + now + "," + by("new", now, body) }
	at := func(d time.Duration) string {
		stamp := fmt.Sprint(moment.Add(d).Unix())
		return "t=" + stamp + "," + by("new", stamp, theEvent)
	}
	many := func(n int) string {
		return "t=" + now + strings.Repeat(","+by("stranger", now, theEvent), n-1) + "," + by("new", now, theEvent)
	}
	big := theEvent + strings.Repeat(" ", MaxCallback)
	for _, c := range []struct {
		what, header, body string
		want               error
	}{
		{"good", signed(theEvent), theEvent, nil},
		{"by the old secret", "t=" + now + "," + by("old", now, theEvent), theEvent, nil},
		{"by both", "t=" + now + "," + by("old", now, theEvent) + "," + by("new", now, theEvent), theEvent, nil},
		{"by a stranger and by us", many(8), theEvent, nil},
		{"with spaces", "t=" + now + ", " + by("new", now, theEvent), theEvent, nil},
		{"with a newer kind", "t=" + now + ",v2=xyz," + by("new", now, theEvent), theEvent, nil},
		{"signature first", by("new", now, theEvent) + ",t=" + now, theEvent, nil},
		{"five minutes old", at(-Tolerance), theEvent, nil},
		{"five minutes ahead", at(Tolerance), theEvent, nil},

		{"by a stranger", "t=" + now + "," + by("stranger", now, theEvent), theEvent, ErrCallbackForged},
		{"by an empty secret", "t=" + now + "," + by("", now, theEvent), theEvent, ErrCallbackForged},
		{"altered", signed(theEvent), strings.Replace(theEvent, "4500", "9500", 1), ErrCallbackForged},
		{"a byte more", signed(theEvent), theEvent + "\n", ErrCallbackForged},
		{"another time", "t=" + fmt.Sprint(moment.Unix()+1) + "," + by("new", now, theEvent), theEvent, ErrCallbackForged},
		{"forged and late", strings.Replace(at(-time.Hour), "v1=", "v1=00", 1)[:len(at(0))], theEvent, ErrCallbackForged},
		{"only a newer kind", "t=" + now + ",v2=" + by("new", now, theEvent)[3:], theEvent, ErrCallbackUnsigned},

		{"too old", at(-Tolerance - time.Second), theEvent, ErrCallbackLate},
		{"too far ahead", at(Tolerance + time.Second), theEvent, ErrCallbackLate},
		{"of 1970", "t=0," + by("new", "0", theEvent), theEvent, ErrCallbackLate},
		{"of 9999", "t=253402300799," + by("new", "253402300799", theEvent), theEvent, ErrCallbackLate},

		{"nothing", "", theEvent, ErrCallbackUnsigned},
		{"no time", by("new", now, theEvent), theEvent, ErrCallbackUnsigned},
		{"no signature", "t=" + now, theEvent, ErrCallbackUnsigned},
		{"two times", "t=" + now + ",t=" + now + "," + by("new", now, theEvent), theEvent, ErrCallbackUnsigned},
		{"a time in another spelling", "t=0" + now + "," + by("new", "0"+now, theEvent), theEvent, ErrCallbackUnsigned},
		{"a time with a sign", "t=+" + now + "," + by("new", "+"+now, theEvent), theEvent, ErrCallbackUnsigned},
		{"a time before all", "t=-1," + by("new", "-1", theEvent), theEvent, ErrCallbackUnsigned},
		{"a time after all", "t=99999999999999999," + by("new", "99999999999999999", theEvent), theEvent, ErrCallbackUnsigned},
		{"no time at all", "t=now," + by("new", "now", theEvent), theEvent, ErrCallbackUnsigned},
		{"half a signature", signed(theEvent)[:60], theEvent, ErrCallbackUnsigned},
		{"a long signature", signed(theEvent) + "00", theEvent, ErrCallbackUnsigned},
		{"no hex", strings.Replace(signed(theEvent), "v1=", "v1=zz", 1), theEvent, ErrCallbackUnsigned},
		{"no parts", "hello", theEvent, ErrCallbackUnsigned},
		{"too many signatures", many(9), theEvent, ErrCallbackUnsigned},
		{"a long header", signed(theEvent) + ",x=" + strings.Repeat("x", maxSignature), theEvent, ErrCallbackUnsigned},

		{"huge", signed(big), big, ErrCallbackLarge},
		{"huge and unsigned", "", big, ErrCallbackLarge},

		{"no JSON", signed("hello"), "hello", ErrCallbackMalformed},
		{"two", signed(theEvent + theEvent), theEvent + theEvent, ErrCallbackMalformed},
		{"empty", signed(""), "", ErrCallbackMalformed},
		{"null", signed("null"), "null", ErrCallbackMalformed},
	} {
		got, err := VerifyCallback(c.header, []byte(c.body), moment, "old", "", "new")
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		if c.want != nil && got.ID != "" {
			t.Errorf("%s: got %+v beside the error", c.what, got)
		}
		if c.want == nil && (got.ID != "evt_1" || got.Key != "attempt-00000001" || got.Amount != 4500 || got.Currency != "EUR" || got.At.UnixMilli() != 1800000000123) {
			t.Errorf("%s: got %+v", c.what, got)
		}
	}
	if _, err := VerifyCallback(signed(theEvent), []byte(theEvent), moment); !errors.Is(err, ErrCallbackForged) {
		t.Errorf("without a secret: got %v, want forged", err)
	}
	if _, err := VerifyCallback("t="+now+","+by("", now, theEvent), []byte(theEvent), moment, ""); !errors.Is(err, ErrCallbackForged) {
		t.Errorf("with an empty secret: got %v, want forged", err)
	}
	for change, want := range map[string]error{
		`"evt_1"→"evt 1"`: ErrCallbackMalformed, `"evt_1"→""`: ErrCallbackMalformed, `"attempt-00000001"→"a/b"`: ErrCallbackMalformed,
		`"EUR"→"euro"`: ErrCallbackMalformed, `"amount":4500→"amount":0`: ErrCallbackMalformed, `"captured":4500→"captured":4501`: ErrCallbackMalformed,
		`"captured","amount"→"paid","amount"`: ErrCallbackMalformed, `4500,"cur→4500.5,"cur`: ErrCallbackMalformed, `}}→},"more":1}`: nil,
	} {
		from, to, _ := strings.Cut(change, "→")
		body := strings.Replace(theEvent, from, to, 1)
		if body == theEvent {
			t.Fatalf("%s changes nothing", change)
		}
		if _, err := VerifyCallback(signed(body), []byte(body), moment, "new"); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", change, err, want)
		}
	}
}

// The codes are what a log, a metric and an answer say: they stay.
func TestCallbackCodes(t *testing.T) {
	for err, want := range map[*CallbackError]string{
		ErrCallbackLarge: "callback_large", ErrCallbackUnsigned: "callback_unsigned", ErrCallbackForged: "callback_forged",
		ErrCallbackLate: "callback_late", ErrCallbackMalformed: "callback_malformed",
	} {
		if err.Code != want {
			t.Errorf("got %s, want %s", err.Code, want)
		}
	}
}

// What Sign writes is believed, by each of its secrets.
func TestSign(t *testing.T) {
	header := Sign([]byte(theEvent), moment, "new", "old")
	now := fmt.Sprint(moment.Unix())
	if want := "t=" + now + "," + by("new", now, theEvent) + "," + by("old", now, theEvent); header != want {
		t.Errorf("got %s, want %s", header, want)
	}
	for _, secret := range []Secret{"new", "old"} {
		if _, err := VerifyCallback(header, []byte(theEvent), moment.Add(time.Minute), secret); err != nil {
			t.Errorf("got %v", err)
		}
	}
}

// A callback is about one attempt: of another, or of another sum, it says nothing.
func TestCallbackResult(t *testing.T) {
	callback, err := VerifyCallback(Sign([]byte(theEvent), moment, "new"), []byte(theEvent), moment, "new")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := callback.Result(theAttempt); got.Outcome != Captured || got.Captured != 4500 || got.Reference != "pay_1" || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	for want, a := range map[string]Attempt{
		ReasonKeyDiffers: {"attempt-00000002", 4500, "EUR"}, ReasonAmountDiffers: {"attempt-00000001", 4501, "EUR"},
		ReasonCurrencyDiffer: {"attempt-00000001", 4500, "USD"}, ReasonRequest: {},
	} {
		if got, err := callback.Result(a); got.Outcome != Refused || got.Reason != want || !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: got %+v, %v, want %s", a, got, err, want)
		}
	}
}

// Whatever comes, nothing is believed that was not signed, and nothing panics.
func FuzzVerifyCallback(f *testing.F) {
	now := fmt.Sprint(moment.Unix())
	f.Add("t="+now+","+by("new", now, theEvent), []byte(theEvent))
	f.Add("t="+now+",t=1,v1=,v1", []byte("{}"))
	f.Add(",,=,", []byte(nil))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		callback, err := VerifyCallback(header, body, moment, "a secret that no corpus has")
		var known *CallbackError
		if !errors.As(err, &known) {
			t.Errorf("got %+v, %v, want an error with a code", callback, err)
		}
		// Signed by us, a body is believed or malformed.
		callback, err = VerifyCallback(Sign(body, moment, "new"), body, moment, "new")
		switch {
		case errors.Is(err, ErrCallbackMalformed), len(body) > MaxCallback && errors.Is(err, ErrCallbackLarge):
		case err != nil:
			t.Errorf("signed by us: got %v", err)
		default:
			if r, err := callback.Result(Attempt{callback.Key, callback.Amount, callback.Currency}); err != nil || r.Outcome == "" {
				t.Errorf("signed by us: its own attempt: got %+v, %v", r, err)
			}
		}
	})
}
