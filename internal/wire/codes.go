package wire

// Code is a stable name of an error on the wire. Sentences for people live in
// the pages' language file; this is what programs compare.
type Code string

// Every code there is; Codes holds what each means for HTTP and WebSocket.
const (
	BadRequest   Code = "bad_request"
	BadMessage   Code = "bad_message"
	TooLong      Code = "too_long"
	TooFast      Code = "too_fast"
	TooSlow      Code = "too_slow"
	NotJoined    Code = "not_joined"
	UnknownType  Code = "unknown_type"
	Unsupported  Code = "unsupported"
	NoHello      Code = "no_join"
	BadRoom      Code = "bad_room"
	UnknownRoom  Code = "unknown_room"
	RoomDeleted  Code = "room_deleted"
	RoomClosed   Code = "room_closed"
	SoldOut      Code = "sold_out"
	RoomFull     Code = "room_full"
	Recovering   Code = "recovering"
	Stalled      Code = "stalled"
	Overloaded   Code = "overloaded"
	AddressLimit Code = "address_limit"
	PlaceLimit   Code = "place_limit"
	PassLimit    Code = "pass_limit"
	TooManyTabs  Code = "too_many_tabs"
	Slow         Code = "slow"
	Draining     Code = "draining"
	Origin       Code = "origin"
	PlaceBad     Code = "place_malformed"
	PlaceForeign Code = "place_foreign"
	PlaceRoom    Code = "place_other_room"
	PlaceEpoch   Code = "place_other_epoch"
	NotYours     Code = "leave_in_shop"
	NoPass       Code = "pass_missing"
	PassBad      Code = "pass_malformed"
	PassForeign  Code = "pass_foreign"
	PassExpired  Code = "pass_expired"
	PassRoom     Code = "pass_other_room"
	PassSpent    Code = "pass_spent"
	PassOld      Code = "pass_old"
	SeatBad      Code = "seat_malformed"
	SeatUnknown  Code = "seat_unknown"
	SeatTaken    Code = "seat_taken"
	SeatsTooMany Code = "seats_too_many"
	SeatsTwice   Code = "seats_twice"
	SeatsNone    Code = "seats_none"
	NoSeats      Code = "no_seats"
	HoldUnknown  Code = "hold_unknown"
	HoldEnded    Code = "hold_ended"
	HoldOpen     Code = "hold_open"
	HoldExtended Code = "hold_extended"
	KeyBad       Code = "key_malformed"
	KeyReused    Code = "key_reused"
	KeyBusy      Code = "key_in_use"
	KeysTooMany  Code = "keys_too_many"
	Declined     Code = "payment_declined"
	ClockSkew    Code = "clock_skew"
	Unavailable  Code = "unavailable"
	NotFound     Code = "not_found"
	NotAllowed   Code = "method_not_allowed"
	Internal     Code = "internal"
)

// Meaning is one row of the error table.
type Meaning struct {
	HTTP  int    // status of an HTTP answer
	Close int    // WebSocket close code; 0: the connection stays open
	Retry bool   // the same client may try the same thing again later
	Text  string // for a person reading a log or a tool; pages have their own
}

// Close codes 4000–4499 mean: reconnect with jitter; 4500–4999: do not.
const (
	CloseDrain      = 4000 // this node stops: reconnect after `retry_ms`
	CloseSlow       = 4001 // this peer did not read: reconnect
	CloseOverloaded = 4002
	CloseStalled    = 4003
	CloseInternal   = 4010
	CloseTabs       = 4500 // a newer tab took over
	CloseRoom       = 4501 // no such room, or deleted
	ClosePlace      = 4502 // drop the place, then a join may start anew
	CloseProtocol   = 4503 // the client broke the protocol
	CloseDone       = 4504 // the visitor left, nothing more will come
)

// Codes is the one table: code → HTTP status → close code → may the client retry.
var Codes = map[Code]Meaning{
	BadRequest:   {400, CloseProtocol, false, "the request is malformed"},
	BadMessage:   {400, CloseProtocol, false, "the message is not a JSON object of the protocol"},
	TooLong:      {413, CloseProtocol, false, "the message is too long"},
	TooFast:      {429, CloseProtocol, false, "too many messages"},
	TooSlow:      {408, 0, true, "the request was not whole in time"},
	NotJoined:    {409, 0, false, "join first"},
	UnknownType:  {400, CloseProtocol, false, "the message type is unknown"},
	Unsupported:  {400, CloseProtocol, false, "the field is not supported by this server"},
	NoHello:      {408, CloseStalled, true, "no join within 5 s"},
	BadRoom:      {404, CloseRoom, false, "the room name is malformed"},
	UnknownRoom:  {404, CloseRoom, false, "there is no such room"},
	RoomDeleted:  {410, CloseRoom, false, "the room was deleted"},
	RoomClosed:   {410, 0, false, "the room is closed"},
	SoldOut:      {410, 0, false, "every seat is booked"},
	RoomFull:     {503, 0, true, "the room is full"},
	Recovering:   {503, 0, true, "the line is recovering"},
	Stalled:      {503, 0, true, "the line is out of reach"},
	Overloaded:   {503, CloseOverloaded, true, "this server takes no more now"},
	AddressLimit: {429, 0, true, "too much comes from this address"},
	PlaceLimit:   {429, 0, true, "this place connects too often"},
	PassLimit:    {429, 0, true, "this pass asks too often"},
	TooManyTabs:  {409, CloseTabs, false, "a newer connection of this visitor took over"},
	Slow:         {408, CloseSlow, true, "the connection did not read"},
	Draining:     {503, CloseDrain, true, "this node is stopping"},
	Origin:       {403, 0, false, "the page's origin is not allowed"},
	PlaceBad:     {400, ClosePlace, false, "the place is malformed"},
	PlaceForeign: {403, ClosePlace, false, "the place is not signed by this waiting room"},
	PlaceRoom:    {403, ClosePlace, false, "the place is for another room"},
	PlaceEpoch:   {410, ClosePlace, false, "the place is of an older line of this room"},
	NotYours:     {409, 0, false, "the visitor is in the shop and leaves there"},
	NoPass:       {401, 0, false, "a pass is needed"},
	PassBad:      {401, 0, false, "the pass is malformed"},
	PassForeign:  {403, 0, false, "the pass is not signed by this waiting room"},
	PassExpired:  {403, 0, false, "the pass has expired"},
	PassRoom:     {403, 0, false, "the pass is for another room"},
	PassOld:      {409, 0, false, "the pass is of an earlier line of this room"},
	PassSpent:    {410, 0, false, "the pass is spent"},
	SeatBad:      {400, 0, false, "a seat name is malformed"},
	SeatUnknown:  {404, 0, false, "a seat does not exist"},
	SeatTaken:    {409, 0, true, "a seat is taken"},
	SeatsTooMany: {400, 0, false, "more seats than one visitor may hold"},
	SeatsTwice:   {400, 0, false, "the same seat asked for twice"},
	SeatsNone:    {400, 0, false, "no seat asked for"},
	NoSeats:      {404, 0, true, "the room has no seats yet"},
	HoldUnknown:  {404, 0, false, "there is no such hold for this pass"},
	HoldEnded:    {410, 0, false, "the hold has ended"},
	HoldExtended: {409, 0, false, "the hold was extended already"},
	HoldOpen:     {409, 0, false, "this pass has another live hold"},
	KeyBad:       {400, 0, false, "the idempotency key is malformed"},
	KeyReused:    {422, 0, false, "the idempotency key was used for another request"},
	KeyBusy:      {409, 0, true, "a request with this idempotency key is being served"},
	KeysTooMany:  {429, 0, false, "this pass has used too many idempotency keys"},
	Declined:     {402, 0, true, "the payment was declined"},
	ClockSkew:    {503, 0, true, "this server's clock is wrong"},
	Unavailable:  {503, 0, true, "a server behind this one is out of reach"},
	NotFound:     {404, 0, false, "there is nothing here"},
	NotAllowed:   {405, 0, false, "the method is not allowed here"},
	Internal:     {500, CloseInternal, true, "an internal error"},
}
