package apitest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"waitroom/internal/events"
)

// Line is the AsyncAPI contract, of the WebSocket and of Kafka, and what of it was met. It
// is safe for concurrent use.
type Line struct{ doc *document }

// NewLine reads the contract of the line and of the events.
func NewLine() (*Line, error) {
	doc, err := load("asyncapi.yaml")
	return &Line{doc}, err
}

// The two who speak on the WebSocket, as operations of the contract name them.
const (
	Visitor = "hearVisitor"
	Node    = "tellVisitor"
)

// Frame says in what a message of Visitor or Node differs from the contract.
func (l *Line) Frame(from string, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	kind, _ := at(v, "type").(string)
	if !slices.Contains(l.Messages(from), kind) {
		return fmt.Errorf("%s: %s of a type that the contract has not", from, text)
	}
	form := closed
	if from == Visitor {
		form = open // whose fields of later versions a node ignores
	}
	if err := l.doc.check(form, "/components/messages/"+kind+"/payload", v); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// Messages are the types that Visitor or Node says.
func (l *Line) Messages(from string) (list []string) {
	all, _ := at(l.doc.root, "operations", from, "messages").([]any)
	for _, one := range all {
		ref, _ := at(one, "$ref").(string)
		list = append(list, ref[strings.LastIndexByte(ref, '/')+1:])
	}
	return list
}

// Examples are the messages that the contract shows, by their names.
func (l *Line) Examples() map[string]any {
	list := map[string]any{}
	all, _ := at(l.doc.root, "components", "messages").(object)
	for _, message := range all {
		examples, _ := at(message, "examples").([]any)
		for _, one := range examples {
			name, _ := at(one, "name").(string)
			list[name] = at(one, "payload")
		}
	}
	return list
}

// Errors are the codes that an error message may have.
func (l *Line) Errors() []string {
	return texts(at(l.doc.root, "components", "messages", "error", "payload", "properties", "code", "enum"))
}

// Closes are the close codes, with the codes of errors that come to them.
func (l *Line) Closes() map[int][]string {
	list := map[int][]string{}
	all, _ := at(l.doc.root, "channels", "line", "x-close-codes").(object)
	for number, row := range all {
		n, _ := strconv.Atoi(number) // 0 is no code of ours
		list[n] = texts(at(row, "codes"))
	}
	return list
}

// Refusals are the codes that come before the upgrade, by their status.
func (l *Line) Refusals() map[int][]string {
	list := map[int][]string{}
	all, _ := at(l.doc.root, "channels", "line", "x-refusals").(object)
	for number, codes := range all {
		n, _ := strconv.Atoi(number)
		list[n] = texts(codes)
	}
	return list
}

// Codes are those of errors, of closes and of refusals.
func (l *Line) Codes() []string {
	list := l.Errors()
	for _, codes := range l.Closes() {
		list = append(list, codes...)
	}
	for _, codes := range l.Refusals() {
		list = append(list, codes...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Topics are the channels of Kafka, by their addresses.
func (l *Line) Topics() map[string]string {
	list := map[string]string{}
	channels, _ := l.doc.root["channels"].(object)
	for name, channel := range channels {
		servers, _ := at(channel, "servers").([]any)
		address, _ := at(channel, "address").(string)
		if len(servers) == 1 && at(servers[0], "$ref") == "#/servers/kafka" {
			list[address] = name
		}
	}
	return list
}

// Events are the types of a topic.
func (l *Line) Events(topic string) (list []string) {
	messages, _ := at(l.doc.root, "channels", l.Topics()[topic], "messages").(object)
	for _, one := range messages {
		ref, _ := at(one, "$ref").(string)
		list = append(list, strings.TrimPrefix(ref, "#/components/messages/"))
	}
	slices.Sort(list)
	return list
}

// Record says in what a record differs from the contract: topic, key, headers, value.
func (l *Line) Record(r events.Record) error {
	kind := r.Headers["ce_type"]
	_, dead := r.Headers["dlq_topic"]
	switch {
	case dead:
		kind = "dead"
	case len(r.Value) == 0:
		kind = "deleted"
	}
	if !slices.Contains(l.Events(r.Topic), kind) {
		return fmt.Errorf("topic %s, type %q: the contract has no such record", r.Topic, kind)
	}
	message, pointer := l.doc.part("components", "messages", kind)
	var err error
	if _, has := message["headers"]; has {
		headers := object{}
		for name, value := range r.Headers {
			headers[name] = value
		}
		err = l.doc.check(closed, pointer+"/headers", headers)
	} else if len(r.Headers) > 0 {
		err = fmt.Errorf("headers %v where the contract has none", r.Headers)
	}
	if at(message, "bindings", "kafka", "key") != nil {
		err = errors.Join(err, l.doc.check(closed, pointer+"/bindings/kafka/key", string(r.Key)))
		if key, ok := r.Headers["ce_partitionkey"]; ok && key != string(r.Key) {
			err = errors.Join(err, fmt.Errorf("ce_partitionkey %q of key %q", key, r.Key))
		}
	}
	if kind != "dead" && kind != "deleted" {
		err = errors.Join(err, l.Body(kind, r.Value))
	}
	if err != nil {
		return fmt.Errorf("topic %s, type %q: %w", r.Topic, kind, err)
	}
	return nil
}

// Body says in what the value of a record differs from the schema of its type.
func (l *Line) Body(kind string, value []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	return l.doc.check(closed, "schemas/"+kind+".json", v)
}

// Unsaid are the fields of the messages that were never met, and the words of their lists
// that were never said.
func (l *Line) Unsaid() []string {
	return l.doc.unsaid("messages", at(l.doc.root, "components", "messages"))
}

// Handshake is the pattern of Sec-WebSocket-Protocol.
func (l *Line) Handshake() string {
	pattern, _ := at(l.doc.root, "channels", "line", "bindings", "ws", "headers", "properties", "Sec-WebSocket-Protocol", "pattern").(string)
	return pattern
}
