// Package asyncapi writes docs/asyncapi.yaml, the messages on the bus, from the tables of messages.
package asyncapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"go.yaml.in/yaml/v3"
)

// object is a map of the document.
type object = map[string]any

// Document is the AsyncAPI 3.0 description of every subject: what is published, what is asked for and
// what is answered.
func Document() ([]byte, error) {
	d := &document{channels: object{}, operations: object{}, messages: object{}, schemas: object{}}
	for _, c := range messages.Channels() {
		d.channel(c)
	}
	for _, o := range messages.Operations() {
		d.operation(o)
	}
	if d.err != nil {
		return nil, d.err
	}
	var out bytes.Buffer
	out.WriteString("# Written from messages/table.go by `make docs`; a test holds that it is up to date.\n")
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	err := enc.Encode(object{
		"asyncapi": "3.0.0",
		"info": object{"title": "rbee on NATS", "version": fmt.Sprint(messages.Major),
			"description": "Requests are msgpack, or JSON if their first byte is '{' or they are empty; a reply is written as its request was. " +
				"An error has the headers Nats-Service-Error-Code and Nats-Service-Error and an Error as its body."},
		"channels": d.channels, "operations": d.operations,
		"components": object{"messages": d.messages, "schemas": d.schemas},
	})
	return out.Bytes(), err
}

type document struct {
	channels, operations, messages, schemas object
	err                                     error
}

var notName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// name is a subject as a key: rbee.hive.{hive}.beat is hive_hive_beat.
func name(subject string) string {
	return strings.Trim(notName.ReplaceAllString(strings.TrimPrefix(subject, "rbee."), "_"), "_")
}

func ref(parts ...string) object { return object{"$ref": "#/" + strings.Join(parts, "/")} }

func (d *document) address(subject string) object {
	c := object{"address": subject}
	params := object{}
	for _, p := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(subject, -1) {
		params[p[1]] = object{}
	}
	if len(params) > 0 {
		c["parameters"] = params
	}
	return c
}

func (d *document) channel(c messages.Channel) {
	key := name(c.Subject)
	ch := d.address(c.Subject)
	ch["description"] = fmt.Sprintf("%s -> %s: %s", c.From, c.To, c.Text)
	if c.Payload != nil {
		ch["messages"] = object{"message": d.message(c.Payload, c.JSON)}
	}
	d.channels[key] = ch
	d.operations["publish_"+key] = object{"action": "send", "channel": ref("channels", key)}
}

func (d *document) operation(o messages.Operation) {
	key := name(o.Subject())
	ch := d.address(o.Subject())
	ch["description"] = string(o.Party) + ": " + o.Text
	if o.Request != nil {
		ch["messages"] = object{"request": d.message(o.Request, false)}
	}
	d.channels[key] = ch
	op := object{"action": "receive", "channel": ref("channels", key)}
	if o.Reply != nil {
		op["reply"] = object{"address": object{"location": "$message.header#/reply"}, "messages": []any{d.message(o.Reply, false)}}
	}
	d.operations[key] = op
}

// message is a reference to the message of a payload, which it adds.
func (d *document) message(payload any, asJSON bool) object {
	kind := reflect.TypeOf(payload).Name()
	if _, there := d.messages[kind]; !there {
		content := "application/msgpack"
		if asJSON {
			content = "application/json"
		}
		d.messages[kind] = object{"name": kind, "contentType": content, "payload": ref("components", "schemas", kind)}
		d.schemas[kind] = d.schema(payload)
	}
	return ref("components", "messages", kind)
}

func (d *document) schema(payload any) any {
	s, err := bus.SchemaOf(payload)
	if err != nil {
		d.err = err
		return nil
	}
	data, err := json.Marshal(s)
	var out any
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		d.err = err
	}
	return out
}
