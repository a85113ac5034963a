package natsd

import (
	"os"
	"strings"
	"time"
)

// storeAgain is how often a store that cannot be used is tried.
const storeAgain = 2 * time.Second

// keepStore opens a store that could not be used, as soon as it can. A stream whose file could not be
// written, for want of room, refuses everything from then on, also when there is room again: then the whole
// store is opened anew. Connections are not touched.
func (s *Server) keepStore() {
	defer close(s.done)
	tick := time.NewTicker(storeAgain)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		switch {
		case !s.s.JetStreamEnabled():
			s.openStore()
		case s.broken.Load() && s.roomInStore():
			s.log.Warn("the store can be written again; opening it anew", "dir", s.store.StoreDir)
			if err := s.s.ShutdownJetStream(); err != nil {
				s.log.Error("the store does not close", "error", err)
				continue
			}
			s.broken.Store(false)
			s.openStore()
		}
	}
}

// storeFailed learns from the server's log that a stream's file could not be written: the server tells it
// in no other way.
func (s *Server) storeFailed(text string) {
	if strings.Contains(strings.ToLower(text), "critical write error") {
		s.broken.Store(true)
	}
}

// enoughRoom is what a store must have before it is opened again, in bytes.
const enoughRoom = 1 << 20

// roomInStore tries to write there.
func (s *Server) roomInStore() bool {
	f, err := os.CreateTemp(s.store.StoreDir, ".room-*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, enoughRoom))
	if err == nil {
		err = f.Sync()
	}
	return f.Close() == nil && err == nil
}

func (s *Server) openStore() {
	store := s.store // the server writes into it
	err := s.s.EnableJetStream(&store)
	if err == nil {
		s.log.Debug("store open", "dir", s.store.StoreDir)
		return
	}
	s.log.Error("the store cannot be used: nothing is kept; trying again", "dir", s.store.StoreDir, "error", err)
	_ = s.s.ShutdownJetStream() // a half-open one would count as enabled
}
