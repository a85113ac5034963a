package llamacpp

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/ebitengine/purego"
	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/utils"
)

// libLog is where llama.cpp's lines go. It has one callback for the whole process, because a
// callback into Go can never be freed. Lines of several engines cannot be told apart, so they go to
// the engine that loaded last.
var libLog struct {
	mu         sync.Mutex
	to         *slog.Logger
	level      slog.Level // of the line that a "continue" goes on with
	firstError string
}

// captureLog turns llama.cpp's own printing off. It is called once, by loadLibrary.
func captureLog() {
	llama.LogSet(purego.NewCallback(func(level int32, text *byte, _ uintptr) uintptr {
		logLine(llama.LogLevel(level), utils.BytePtrToString(text))
		return 0
	}))
}

func logLine(level llama.LogLevel, text string) {
	text = strings.TrimSpace(text)
	libLog.mu.Lock()
	switch level {
	case llama.LogLevelContinue:
	case llama.LogLevelError:
		libLog.level = slog.LevelWarn // we report what failed as an error, with this as its reason
	case llama.LogLevelWarn:
		libLog.level = slog.LevelInfo
	default:
		libLog.level = slog.LevelDebug
	}
	if level == llama.LogLevelError && text != "" && libLog.firstError == "" { // what follows says less
		libLog.firstError = text
	}
	to, at := libLog.to, libLog.level
	libLog.mu.Unlock()
	if to != nil && strings.Trim(text, ".") != "" {
		to.Log(context.Background(), at, text, keyFrom, "llama.cpp")
	}
}

// logTo sends later lines to log and forgets the first error.
func logTo(log *slog.Logger) {
	libLog.mu.Lock()
	defer libLog.mu.Unlock()
	libLog.to, libLog.firstError = log, ""
}

// logNoMore stops lines to log, whose owner is closing.
func logNoMore(log *slog.Logger) {
	libLog.mu.Lock()
	defer libLog.mu.Unlock()
	if libLog.to == log {
		libLog.to = nil
	}
}

// takeLibError is the first line that llama.cpp called an error since logTo, and forgets it.
func takeLibError() string {
	libLog.mu.Lock()
	defer libLog.mu.Unlock()
	first := libLog.firstError
	libLog.firstError = ""
	return first
}
