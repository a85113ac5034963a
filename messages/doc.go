// Package messages defines every subject, payload and error code that rbee puts on the bus, and their
// codec. It has no state and no I/O: anyone may import it.
package messages
