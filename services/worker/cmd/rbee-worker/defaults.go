package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// maxDefaults is the most bytes of a file of defaults.
const maxDefaults = 1 << 20

// readDefaults reads the files of --params and --system, each if it is named.
func readDefaults(params, system string, log *slog.Logger) (d completion.Defaults, err error) {
	if params != "" {
		raw, err := readBounded("params", params)
		if err != nil {
			return d, err
		}
		var unused []string
		if d, unused, err = completion.ParseParameters(raw); err != nil {
			return d, unusable("params", fmt.Errorf("file %s: %s", params, messages.AsError(err, opDefaults).Message))
		}
		if len(unused) > 0 {
			log.Warn("some of the model's parameters are not used", "file", params, "names", unused)
		}
	}
	if system != "" {
		raw, err := readBounded("system", system)
		if err != nil {
			return d, err
		}
		if d.System, err = completion.CheckText("system", string(raw)); err != nil {
			return d, unusable("system", fmt.Errorf("file %s: %s", system, messages.AsError(err, opDefaults).Message))
		}
	}
	return d, nil
}

const opDefaults = "worker.defaults"

func unusable(flag string, why error) error {
	return messages.Errorf(messages.CodeBadRequest, opDefaults, "--%s: %w", flag, why).
		WithHint("correct the file, or start without --%s", flag)
}

func readBounded(flag, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unusable(flag, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDefaults+1))
	if err != nil || len(raw) > maxDefaults {
		return nil, unusable(flag, fmt.Errorf("%s is no file of at most %d bytes", path, maxDefaults))
	}
	return raw, nil
}
