package socket

// Why a connection ended.
type Why uint8

// The reasons. Zero is none: the connection serves.
const (
	_          Why = iota
	Gone           // the peer vanished without a word
	Left           // the peer said that it closes
	Closed         // Conn.Close was called
	Cut            // the server was closed
	Slow           // the peer did not read what was sent
	Silent         // no message came in the time that Conn.Within gave
	Unfinished     // what the peer had begun was not whole in time
	Broken         // the peer broke RFC 6455
	Binary         // the message was not one of text
	NotText        // the text was not UTF-8
	TooLong        // the message was longer than Options.MaxMessage
	TooFast        // the peer's budget was spent
	Refused        // the system refuses to wait for it: out of memory, or of fs.epoll.max_user_watches
	whys
)

var whyNames = [whys]string{"", "gone", "left", "closed", "cut", "slow", "silent", "unfinished", "broken", "binary", "not_text", "too_long", "too_fast", "refused"}

// String is the name of a reason, fit for the label of a metric.
func (w Why) String() string { return whyNames[w] }

// Whys are all reasons.
func Whys() []Why {
	all := make([]Why, 0, whys-1)
	for w := Gone; w < whys; w++ {
		all = append(all, w)
	}
	return all
}

// closeCodes is what a connection is closed with if its handler does not say (RFC
// 6455, 7.4.1). The others are gone, or have their code from elsewhere.
var closeCodes = [whys]int{Silent: 1008, Unfinished: 1008, Broken: 1002, Binary: 1003, NotText: 1007, TooLong: 1009, TooFast: 1008}
