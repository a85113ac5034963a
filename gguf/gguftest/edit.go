package gguftest

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/rbee-project/rbee/gguf"
)

// find returns the key called name, which a good file has; a new one if it has not.
func (f *file) find(name string) *key {
	for i := range f.keys {
		if f.keys[i].name == name {
			return &f.keys[i]
		}
	}
	f.keys = append(f.keys, key{name: name})
	return &f.keys[len(f.keys)-1]
}

func (f *file) setUint(name string, v uint32) {
	k := f.find(name)
	k.kind, k.value = typeUint32, binary.LittleEndian.AppendUint32(nil, v)
}

func (f *file) setText(name, v string) {
	k := f.find(name)
	k.kind, k.value = typeString, appendText(nil, v)
}

func (f *file) drop(name string) {
	f.keys = slices.DeleteFunc(f.keys, func(k key) bool { return k.name == name })
}

// tensor returns the tensor called name, or one outside the file if the good file has none: then the
// case is the good file.
func (f *file) tensor(name string) *tensor {
	for i := range f.tensors {
		if f.tensors[i].name == name {
			return &f.tensors[i]
		}
	}
	return &tensor{dims: []uint64{alignment, alignment}}
}

// size is the bytes of a tensor's weights; 0 if it can have none.
func (t *tensor) size() uint64 {
	n, err := gguf.Tensor{Type: gguf.TensorType(t.kind), Dims: t.dims}.Bytes()
	if err != nil || n > 1<<30 {
		return 0
	}
	return n
}

// layOut gives each tensor a place of its own, as its shape and type want it, and weights of 0.
func (f *file) layOut() {
	at := uint64(0)
	for i := range f.tensors {
		f.tensors[i].offset = at
		at += (f.tensors[i].size() + alignment - 1) / alignment * alignment
	}
	f.data = make([]byte, at)
}

func (f *file) dropTensor(name string) {
	f.tensors = slices.DeleteFunc(f.tensors, func(t tensor) bool { return t.name == name })
}

// texts returns an array of text.
func (f *file) texts(name string) []string {
	r := &reader{rest: f.find(name).value}
	r.u32()
	var out []string
	for n := r.u64(); n > 0 && r.err == nil; n-- {
		out = append(out, r.text())
	}
	return out
}

func (f *file) setTexts(name string, texts []string) {
	k := f.find(name)
	k.kind = typeArray
	k.value = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, typeString), uint64(len(texts)))
	for _, s := range texts {
		k.value = appendText(k.value, s)
	}
}

func (f *file) setInts(name string, kind uint32, values []uint32) {
	k := f.find(name)
	k.kind = typeArray
	k.value = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, kind), uint64(len(values)))
	for _, v := range values {
		k.value = binary.LittleEndian.AppendUint32(k.value, v)
	}
}

// setLength changes the length that an array or a text claims.
func (f *file) setLength(name string, n uint64) {
	k := f.find(name)
	at := 0
	if k.kind == typeArray {
		at = 4
	}
	binary.LittleEndian.PutUint64(k.value[at:], n)
}

func (f *file) architecture() string {
	return (&reader{rest: f.find(keyArchitecture).value}).text()
}

func (f *file) blocks() uint32 {
	return (&reader{rest: f.find(f.architecture() + ".block_count").value}).u32()
}

func (f *file) setBool(name string, v byte) {
	k := f.find(name)
	k.kind, k.value = typeBool, []byte{v}
}

// rename gives the file another architecture, and its numbers with it.
func (f *file) rename(architecture string) {
	old := f.architecture() + "."
	f.setText(keyArchitecture, architecture)
	for i, k := range f.keys {
		if len(k.name) > len(old) && k.name[:len(old)] == old {
			f.keys[i].name = architecture + "." + k.name[len(old):]
		}
	}
}

func (f *file) setUint16(name string, v uint16) {
	k := f.find(name)
	k.kind, k.value = 2, binary.LittleEndian.AppendUint16(nil, v)
}

func (f *file) setFloat(name string, v float32) {
	k := f.find(name)
	k.kind, k.value = typeFloat32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
}

// fill makes every weight of a float tensor v. Nothing is filled if the file has no such tensor.
func (f *file) fill(name string, v float64) {
	if !slices.ContainsFunc(f.tensors, func(t tensor) bool { return t.name == name }) {
		return
	}
	t := f.tensor(name)
	f.data = slices.Clone(f.data)
	b := f.data[t.offset : t.offset+t.size()]
	for i := 0; i+4 <= len(b); i += 4 {
		bits := math.Float32bits(float32(v))
		if gguf.TensorType(t.kind) == gguf.F16 { // its top bits are enough for what the cases need
			half := bits>>16&0x8000 | bits>>13&0x3ff | min(bits>>23&0xff, 31)<<10
			bits = half | half<<16
		}
		binary.LittleEndian.PutUint32(b[i:], bits)
	}
}

// setBytes makes a key an array of bytes.
func (f *file) setBytes(name string, b []byte) {
	k := f.find(name)
	k.kind = typeArray
	k.value = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, typeUint8), uint64(len(b)))
	k.value = append(k.value, b...)
}
