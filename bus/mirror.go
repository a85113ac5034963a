package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Mirror writes a map into a KV bucket, for people and tools to read. The map in memory is the
// truth: what the bucket holds is rewritten from it, never the other way round. Put and Delete do
// not wait for the bucket.
type Mirror struct {
	conn   *Conn
	config jetstream.KeyValueConfig

	mu    sync.Mutex
	want  map[string][]byte // the truth
	dirty map[string]bool   // keys to write or delete
	prune bool              // keys that are not in want are to be looked for
	wake  chan struct{}

	kv jetstream.KeyValue // Run's own
}

// NewMirror makes a mirror for the bucket that config describes; Run creates it.
func (c *Conn) NewMirror(config jetstream.KeyValueConfig) *Mirror {
	return &Mirror{conn: c, config: config, want: map[string][]byte{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Put makes value the key's; a later one replaces an earlier one that is not written yet.
func (m *Mirror) Put(key string, value []byte) {
	m.mu.Lock()
	m.want[key], m.dirty[key] = value, true
	m.mu.Unlock()
	m.poke()
}

// Delete removes the key.
func (m *Mirror) Delete(key string) {
	m.mu.Lock()
	delete(m.want, key)
	m.dirty[key] = true
	m.mu.Unlock()
	m.poke()
}

// Prune deletes what the bucket holds and the map does not: what an earlier life of the owner left.
func (m *Mirror) Prune() {
	m.mu.Lock()
	m.prune = true
	m.mu.Unlock()
	m.poke()
}

func (m *Mirror) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends. A bucket that cannot be reached, or was deleted, is tried again every
// second and then gets the whole map. It says on up whether the last attempt worked.
func (m *Mirror) Run(ctx context.Context, up func(error)) {
	defer m.conn.OnReconnect(func() { m.markAll(); m.poke() })()
	for {
		err := m.write(ctx)
		if ctx.Err() != nil {
			return
		}
		up(err)
		var retry <-chan time.Time
		if err != nil {
			m.kv = nil
			retry = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-retry:
		}
	}
}

func (m *Mirror) markAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.want {
		m.dirty[k] = true
	}
}

func (m *Mirror) write(ctx context.Context) error {
	if m.kv == nil {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		kv, err := m.conn.js.CreateOrUpdateKeyValue(c, m.config)
		if err != nil {
			return fmt.Errorf("bucket %s: %w", m.config.Bucket, err)
		}
		m.kv = kv
		m.markAll()
	}
	if err := m.findStrangers(ctx); err != nil {
		return err
	}
	for {
		key, value, put, ok := m.take()
		if !ok {
			return nil
		}
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		var err error
		if put {
			_, err = m.kv.Put(c, key, value)
		} else if err = m.kv.Delete(c, key); errors.Is(err, jetstream.ErrKeyNotFound) {
			err = nil
		}
		cancel()
		if err != nil {
			m.mu.Lock()
			m.dirty[key] = true
			m.mu.Unlock()
			return fmt.Errorf("bucket %s, key %s: %w", m.config.Bucket, key, err)
		}
	}
}

// findStrangers marks the keys of the bucket that are none of ours.
func (m *Mirror) findStrangers(ctx context.Context) error {
	m.mu.Lock()
	due := m.prune
	m.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	keys, err := m.kv.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("bucket %s: list: %w", m.config.Bucket, err)
	}
	var there []string
	for key := range keys.Keys() {
		there = append(there, key)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range there {
		if _, ours := m.want[key]; !ours {
			m.dirty[key] = true
		}
	}
	m.prune = ctx.Err() != nil
	return ctx.Err()
}

func (m *Mirror) take() (key string, value []byte, put, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key = range m.dirty {
		delete(m.dirty, key)
		value, put = m.want[key]
		return key, value, put, true
	}
	return "", nil, false, false
}
