package llamacpp

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// loading is the one model load that may run in this process at a time. llama.cpp's progress
// callback cannot be freed, so there is one for ever, which reports to whoever loads.
var loading struct {
	mu       sync.Mutex // held for the whole load
	once     sync.Once
	callback uintptr
	report   func(fraction float64) (goOn bool)
}

// openModel loads cfg's model onto at. It ends early, with ctx's error, when ctx does.
func openModel(ctx context.Context, cfg Config, at place, progress func(float64)) (llama.Model, error) {
	loading.mu.Lock()
	defer loading.mu.Unlock()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	logTo(cfg.Log)
	params := llama.ModelDefaultParams()
	keep, err := at.apply(&params)
	if err != nil {
		return 0, badModel(cfg.ModelPath, err)
	}
	params.ProgressCallback = progressCallback()
	loading.report = inOrder(ctx, progress)
	model, err := llama.ModelLoadFromFile(cfg.ModelPath, params)
	keep()
	switch {
	case err == nil && ctx.Err() == nil:
		return model, nil
	case err == nil: // it ended too late for the callback to stop it
		freeModel(model)
		return 0, ctx.Err()
	case ctx.Err() != nil:
		return 0, ctx.Err()
	default:
		return 0, loadError(cfg.ModelPath, err)
	}
}

func freeModel(m llama.Model) {
	_ = llama.ModelFree(m) // fails only for a model that is not one
}

func progressCallback() uintptr {
	loading.once.Do(func() {
		var params llama.ModelParams
		params.SetProgressCallback(func(p float32, _ uintptr) uint8 {
			if loading.report(float64(p)) {
				return 1
			}
			return 0
		})
		loading.callback = params.ProgressCallback
	})
	return loading.callback
}

// inOrder passes fractions on that are between 0 and 1 and not below the last one.
func inOrder(ctx context.Context, progress func(float64)) func(float64) bool {
	last := 0.0
	return func(fraction float64) bool {
		if fraction > last && fraction < 1 {
			last = fraction
			progress(fraction)
		}
		return ctx.Err() == nil
	}
}

// checkFile reads what comes before the weights: llama.cpp dies of some files that are no models, and
// says less about why of others. The header is nil for a file that is newer than our reader.
func checkFile(path string) (*gguf.Header, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, badModel(path, err)
	} else if !info.Mode().IsRegular() {
		return nil, badModel(path, errors.New("not a file"))
	}
	h, err := gguf.OpenModel(path)
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, gguf.ErrTensorType):
		return nil, nil // llama.cpp may know it, and refuses well what it does not
	default:
		return nil, badModel(path, err)
	}
}

// checkKind refuses models that do not answer one token after another.
func checkKind(path string, m llama.Model) error {
	switch {
	case llama.ModelHasEncoder(m):
		return badModel(path, errors.New("models with an encoder are not supported"))
	case !llama.ModelHasDecoder(m):
		return badModel(path, errors.New("the model cannot generate text"))
	case llama.ModelIsDiffusion(m):
		return badModel(path, errors.New("diffusion models are not supported"))
	default:
		return nil
	}
}

func badModel(path string, err error) error {
	return messages.Errorf(messages.CodeBadModel, "llamacpp.load", "model %s cannot be loaded: %w", path, err).
		WithHint("download it again, or name another GGUF file")
}

// loadError says why llama.cpp gave no model, as far as its log tells.
func loadError(path string, err error) error {
	why := takeLibError()
	if why == "" {
		return badModel(path, err)
	}
	if looksLikeMemory(why) {
		return noMemory(path, why)
	}
	return badModel(path, errors.New(why))
}

func looksLikeMemory(line string) bool {
	line = strings.ToLower(line)
	return strings.Contains(line, "alloc") || strings.Contains(line, "out of memory")
}

func noMemory(path, why string) error {
	return messages.Errorf(messages.CodeNoMemory, "llamacpp.load", "model %s does not fit: %s", path, why).
		WithHint("use a smaller model, a shorter context or fewer slots")
}
