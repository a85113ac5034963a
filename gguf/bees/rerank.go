package bees

import (
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

var rerankShape = shape{
	architecture: "bert", context: 512, blocks: 2, embedding: 256, feedForward: 32, headLength: 256, kvHeads: 1,
}

const rerankSeed = 19

// What a token's values are in bee-rerank. The first tokenValues are its own, the next
// positionValues are its position's, each 1 or -1 at random, so that two of them hardly agree.
const (
	tokenValues    = 128
	positionValues = 120
	restValue      = tokenValues + positionValues // 1 for the class token, else 0
	matchValue     = restValue + 1                // after the first layer: it found its like
	shareValue     = matchValue + 1               // after the second: the share of tokens that did
)

// How strongly a token looks elsewhere, before the softmax: at one like it, less itself, else at
// the class token.
const (
	likeLook = 40
	selfLook = -60
	restLook = 20
)

// rerankModel makes a model that scores how many tokens of a query and a document, taken together,
// are there twice. In its first layer each token looks for another one like it; in the second the
// class token takes the mean of what they found.
func rerankModel(name string) *gguf.Writer {
	random := rand.NewPCG(rerankSeed, 0)
	const columns = tokenValues + positionValues
	root := float32(16) // of the head's length: llama.cpp divides by it
	return buildEncoder(name, rerankShape, encoder{
		pooling: poolRank,
		embedding: func(token, column int) float32 {
			switch {
			case column < tokenValues:
				return sign(random)
			case column == restValue && token == tokenClass:
				return 1
			}
			return 0
		},
		position: func(_, column int) float32 {
			if column >= tokenValues && column < columns {
				return sign(random)
			}
			return 0
		},
		layers: []encoderLayer{{
			query: diagonal(func(column int) float32 {
				switch {
				case column < tokenValues:
					return likeLook * root / tokenValues
				case column < columns:
					return selfLook * root / positionValues
				}
				return 0
			}),
			queryBias: only(restValue, restLook*root),
			key:       diagonal(same1),
			value:     single(matchValue, restValue, -1),
			valueBias: only(matchValue, 1),
			output:    single(matchValue, matchValue, 4),
		}, {
			value: diagonal(same1),
			output: func(row, column int) float32 {
				switch {
				case row == shareValue && column == matchValue:
					return 1
				case row == column && column < tokenValues:
					return 1
				}
				return 0
			},
		}},
		class: func(row, column int) float32 {
			switch {
			case row != 0:
				return 0
			case column == shareValue:
				return classMatch
			case column < tokenValues:
				return bell(random, classNoise)
			}
			return 0
		},
		classBias: only(0, classStart),
		score:     single(0, 0, scoreScale),
	})
}

const (
	classMatch = 0.5
	classNoise = 0.01 // which tells documents apart that match equally well
	classStart = -1
	scoreScale = 5
)

func same1(int) float32 { return 1 }

// only is a vector that is v at one place and zero elsewhere.
func only(place int, v float32) matrix { return single(0, place, v) }

// single is a matrix that is v at one place and zero elsewhere.
func single(atRow, atColumn int, v float32) matrix {
	return func(row, column int) float32 {
		if row == atRow && column == atColumn {
			return v
		}
		return 0
	}
}

func sign(random *rand.PCG) float32 {
	if random.Uint64()&1 == 0 {
		return -1
	}
	return 1
}
