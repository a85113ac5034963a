package llamacpp

import (
	"errors"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// openAdapters loads the adapters. llama.cpp compares their tensors with the model's.
func (s *session) openAdapters(cfg Config) error {
	for _, l := range cfg.LoRA {
		if _, err := gguf.OpenHeader(l.Path); err != nil {
			return badAdapter(l.Path, err)
		}
		a, err := llama.AdapterLoraInit(s.model, l.Path)
		if err == nil && a == 0 {
			err = errors.New(takeLibError())
		}
		if err != nil {
			return badAdapter(l.Path, err)
		}
		s.lora, s.scales = append(s.lora, a), append(s.scales, l.Scale)
	}
	return nil
}

func badAdapter(path string, err error) error {
	return messages.Errorf(messages.CodeBadModel, "llamacpp.load", "LoRA adapter %s cannot be used: %w", path, err).
		WithHint("an adapter fits the one model that it was trained for, and must be a GGUF file")
}

// adapt has a context use the adapters.
func (s *session) adapt(ctx llama.Context) {
	if len(s.lora) > 0 {
		llama.SetAdaptersLora(ctx, s.lora, s.scales)
	}
}
