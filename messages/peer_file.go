package messages

import "time"

// LocateRequest is a hive's question about a file that it wants: who has it? As long as the hive fetches it
// from outside it asks again every [LocateEvery]; that keeps the others waiting for it.
type LocateRequest struct {
	Versioned
	Digest    string `msgpack:"digest" json:"digest"`
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"`
	// Fetching says that the sender fetches from outside, and its claim is to hold on.
	Fetching bool `msgpack:"fetching,omitempty" json:"fetching,omitempty"`
	// Done ends the claim.
	Done bool `msgpack:"done,omitempty" json:"done,omitempty"`
	// Bad is a hive whose copy did not arrive: it is not named again for a while.
	Bad HiveID `msgpack:"bad,omitempty" json:"bad,omitempty"`
}

// LocateEvery is how often a hive renews its claim; LocateLife how long a claim holds without.
const (
	LocateEvery = 2 * time.Second
	LocateLife  = 7 * time.Second
)

// LocateReply says where to get the file.
type LocateReply struct {
	Versioned
	// Outside says: fetch it from its source, nobody has it and nobody else fetches it.
	Outside bool `msgpack:"outside,omitempty" json:"outside,omitempty"`
	// Hive has it, or is fetching it and hands on what it has.
	Hive   HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	URL    string `msgpack:"url,omitempty" json:"url,omitempty"`   // where that hive serves it; may be out of reach
	Host   string `msgpack:"host,omitempty" json:"host,omitempty"` // hostname of that hive's machine
	Ticket string `msgpack:"ticket,omitempty" json:"ticket,omitempty"`
	// Wait says: another hive is about to fetch it; ask again soon.
	Wait bool `msgpack:"wait,omitempty" json:"wait,omitempty"`
}

// OfferRequest asks a hive for a file on behalf of another, and gives it the other's ticket.
type OfferRequest struct {
	Versioned
	Digest string `msgpack:"digest" json:"digest"`
	// Ticket opens this file for TicketLife; "" only asks.
	Ticket string `msgpack:"ticket,omitempty" json:"ticket,omitempty"`
}

// TicketLife is how long a ticket opens a file, counted from its last use.
const TicketLife = 10 * time.Minute

// OfferReply says whether the hive has the file.
type OfferReply struct {
	Versioned
	Have    bool   `msgpack:"have" json:"have"`
	Partial bool   `msgpack:"partial,omitempty" json:"partial,omitempty"` // a download is under way
	URL     string `msgpack:"url,omitempty" json:"url,omitempty"`
	Host    string `msgpack:"host,omitempty" json:"host,omitempty"`
}

// ReadRequest asks a hive for a piece of a file; an answer may be shorter. A piece that is still being
// fetched is waited for, some seconds.
type ReadRequest struct {
	Versioned
	Digest string `msgpack:"digest" json:"digest"`
	Ticket string `msgpack:"ticket" json:"ticket"`
	From   int64  `msgpack:"from" json:"from"`
	Bytes  int64  `msgpack:"bytes" json:"bytes"` // at most [MaxPiece]
}

// ReadReply is a piece of a file, from the asked offset on; empty when there is nothing yet.
type ReadReply struct {
	Versioned
	Data      []byte `msgpack:"data" json:"data"`
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"` // of the whole file
}
