package bees

import (
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

var embedShape = shape{
	architecture: "bert", context: 512, blocks: 2, embedding: 128, feedForward: 128, headLength: 32, kvHeads: 4,
}

const (
	embedSeed = 17
	// embedPosition and embedLayer are small against the tokens' values of deviation 1: the order of
	// words changes a text's vector, but which words it has changes it more.
	embedPosition = 0.2
	embedLayer    = 0.04
)

// embedModel makes a model that turns a text into 128 numbers: near the mean of random numbers for
// its tokens, so texts that share words come out near each other.
func embedModel(name string) *gguf.Writer {
	random := rand.NewPCG(embedSeed, 0)
	layer := noise(random, embedLayer)
	e := encoder{pooling: poolMean, embedding: noise(random, 1), position: noise(random, embedPosition)}
	for range embedShape.blocks {
		e.layers = append(e.layers, encoderLayer{
			query: layer, key: layer, value: layer, output: layer, up: layer, down: layer,
		})
	}
	return buildEncoder(name, embedShape, e)
}
