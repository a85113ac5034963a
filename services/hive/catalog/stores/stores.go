// Package stores finds the models that other programs already hold on this machine: Ollama, the
// HuggingFace cache, LM Studio and llama.cpp. It only reads: it makes no file and no lock in their
// folders, and where the system lets it, not even the times of access change. What lies there is foreign
// input: everything is bounded, and nothing outside a store's folder is opened because of what is in it.
//
// A [Store] holds no state, so many goroutines may use one.
package stores

import (
	"context"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Store is what one other program holds.
type Store interface {
	// Name is short and stable: "ollama", "huggingface", "lmstudio", "llama.cpp".
	Name() string
	// Places are the absolute paths of the folders that Find looks into, whether they are there or not.
	Places() []string
	// Find looks. A folder that is not there holds nothing; what cannot be used is among what is found,
	// with its Problem. Only the end of ctx is an error. It looks at 100,000 names at most.
	//
	// What is found is in a stable order: where two have one name, the one that the name means comes first.
	Find(ctx context.Context) ([]Found, error)
}

// Found is a model in a store, or something there that cannot be used.
type Found struct {
	// Store is the name of the store.
	Store string
	// Place is the folder of the store that it is in.
	Place string
	// Artifact is what vendors would make of it. Its Ref is empty if no reference can mean it and no
	// other. Every file has InPlace: the path behind all links, so its last element may say nothing (a
	// digest) where Name does; a split model's parts have to be linked under their names to be loaded.
	// Digest is what the store says: of weights it is not checked here, of texts it is.
	vendor.Artifact
	// Refs are the references that people would write for it; Ref is the last of them.
	Refs []string
	// Problem is why it cannot be used, for people; empty if it can. Name is then what there is to show.
	Problem string
}

// All are the stores that programs of this user and of this machine have by default or by the
// environment, which getenv reads. home is the user's folder; if it is empty, only the others are looked
// at. A relative path in the environment counts from another program's folder and is left out.
func All(getenv func(string) string, home string) []Store {
	env := environment{getenv: getenv, home: home}
	return []Store{ollamaStore(env), huggingFaceStore(env), lmStudioStore(env), llamaCppStore(env)}
}
