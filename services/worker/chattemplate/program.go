package chattemplate

// program is a compiled chat template. It runs in the child alone: it has no limit of time or memory.
type program interface {
	// render runs the template over in.
	render(in Input) ([]Part, error)
	// learn finds out what the template can do by trial renders, and sets what it needs.
	learn(source string) (Caps, error)
}

func newProgram(source string, o Options) (program, error) {
	if o.Go {
		return compileGo(source, o)
	}
	return compile(source, o)
}
