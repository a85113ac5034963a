package stores

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// lmStudio is LM Studio's folder of models, publisher/repository/file.gguf as at HuggingFace
// (lmstudio.ai/docs/app/advanced/import-model).
type lmStudio struct {
	places   []string
	settings string // its settings.json, or ""
}

func lmStudioStore(e environment) Store {
	return lmStudio{
		places:   places(e.below(".lmstudio", "models"), e.below(".cache", "lm-studio", "models")),
		settings: e.below(".lmstudio", "settings.json"),
	}
}

func (lmStudio) Name() string { return "lmstudio" }

// Places reads the settings, where people can choose another folder.
func (s lmStudio) Places() []string {
	out := slices.Clone(s.places)
	if s.settings == "" {
		return out
	}
	var settings struct {
		DownloadsFolder string `json:"downloadsFolder"`
	}
	path, err := filepath.EvalSymlinks(s.settings)
	if err != nil {
		return out
	}
	if b, err := new(look).text(path, maxManifest); err == nil && json.Unmarshal(b, &settings) == nil {
		out = places(append([]string{filepath.Clean(settings.DownloadsFolder)}, out...)...)
	}
	return out
}

func (s lmStudio) Find(ctx context.Context) ([]Found, error) {
	return find(ctx, s.Name(), s.Places(), func(l *look, root string) {
		var order []string // of repositories
		repos := map[string]*collection{}
		l.walk(root, func(rel string, e fs.DirEntry) {
			if !isGGUF(e.Name()) {
				l.linkedFolder(root, rel, e)
				return
			}
			f := link(root, root, rel)
			key, c := lmCollection(f.name)
			if repos[key] == nil {
				order, repos[key] = append(order, key), &c
			} else {
				c = *repos[key]
			}
			f.name = strings.TrimPrefix(f.name, key)
			repos[key].files = append(repos[key].files, f)
		})
		for _, key := range order {
			l.models(*repos[key])
		}
	})
}

// lmCollection is what a file at name belongs to, and the start of its name that stands for that.
func lmCollection(name string) (key string, c collection) {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return name[:strings.LastIndexByte(name, '/')+1], collection{}
	}
	repo := repository(parts[0], parts[1])
	return parts[0] + "/" + parts[1] + "/", collection{repo: repo, shown: parts[0] + "/" + parts[1], at: []string{""}}
}

// linkedFolder says of a link to a folder elsewhere that nobody looked there: people have such links.
func (l *look) linkedFolder(root, rel string, e fs.DirEntry) {
	if e.Type()&fs.ModeSymlink == 0 {
		return
	}
	if _, _, err := inside(root, filepath.Join(root, rel)); errors.Is(err, errOutside) {
		l.problem(rel, why(err))
	}
}
