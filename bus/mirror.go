package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Mirror writes what its owner knows into a KV bucket, for people and tools to read. The owner's memory
// is the truth: what the bucket holds is rewritten from it, never the other way round.
type Mirror struct {
	conn   *Conn
	config jetstream.KeyValueConfig
	source Source

	mu    sync.Mutex
	dirty map[string]bool // keys to write or delete
	prune bool            // keys that the owner does not know are to be looked for
	wake  chan struct{}
	again atomic.Bool // everything is to be written again

	kv jetstream.KeyValue // Run's own
}

// Source is the truth that a [Mirror] writes. It is asked on the mirror's goroutine.
type Source struct {
	Keys  func() []string
	Value func(key string) (value []byte, ok bool) // false: the key is to be deleted
}

// NewMirror makes a mirror of source for the bucket that config describes; Run creates it.
func (c *Conn) NewMirror(config jetstream.KeyValueConfig, source Source) *Mirror {
	return &Mirror{conn: c, config: config, source: source, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Touch says that the key's value has changed, or that it is gone. It does not wait for the bucket.
func (m *Mirror) Touch(key string) {
	m.mu.Lock()
	m.dirty[key] = true
	m.mu.Unlock()
	m.poke()
}

// Prune deletes what the bucket holds and the owner does not know: what an earlier life of it left.
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
// second and then gets everything. It says on up whether the last attempt worked.
func (m *Mirror) Run(ctx context.Context, up func(error)) {
	defer m.conn.OnReconnect(func() { m.again.Store(true); m.poke() })()
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
	keys := m.source.Keys()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		m.dirty[k] = true
	}
}

func (m *Mirror) write(ctx context.Context) error {
	if !m.conn.Connected() {
		return fmt.Errorf("bucket %s: no connection to the bus", m.config.Bucket)
	}
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
	if m.again.CompareAndSwap(true, false) {
		m.markAll()
	}
	if err := m.findStrangers(ctx); err != nil {
		return err
	}
	for {
		key, ok := m.take()
		if !ok {
			return nil
		}
		value, put := m.source.Value(key)
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
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
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
	for _, key := range there { // the source says which are known; those are written again
		m.dirty[key] = true
	}
	m.prune = ctx.Err() != nil
	return ctx.Err()
}

func (m *Mirror) take() (key string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key = range m.dirty {
		delete(m.dirty, key)
		return key, true
	}
	return "", false
}
