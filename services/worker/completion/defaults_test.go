package completion

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func mustParameters(t testing.TB, raw string) Defaults {
	t.Helper()
	d, _, err := ParseParameters([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDefaultsPrecedence: the request wins, then the parameters, then llama-server's defaults; of every
// parameter that there is.
func TestDefaultsPrecedence(t *testing.T) {
	type values struct {
		get             func(Params) any
		plain, def, own any
		parameter, body string
	}
	of := func(get func(Sampling) any) func(Params) any { return func(p Params) any { return get(p.Sampling) } }
	seed := func(p Params) any {
		if p.Sampling.Seed == nil {
			return nil
		}
		return *p.Sampling.Seed
	}
	for name, v := range map[string]values{
		"temperature":       {of(func(s Sampling) any { return s.Temperature }), float32(0.8), float32(0.25), float32(0), "0.25", "0"},
		"top_p":             {of(func(s Sampling) any { return s.TopP }), float32(0.95), float32(0.5), float32(1), "0.5", "1"},
		"min_p":             {of(func(s Sampling) any { return s.MinP }), float32(0.05), float32(0.5), float32(0), "0.5", "0"},
		"typical_p":         {of(func(s Sampling) any { return s.TypicalP }), float32(1), float32(0.5), float32(0.25), "0.5", "0.25"},
		"repeat_penalty":    {of(func(s Sampling) any { return s.RepeatPenalty }), float32(1), float32(1.5), float32(1), "1.5", "1"},
		"presence_penalty":  {of(func(s Sampling) any { return s.PresencePenalty }), float32(0), float32(1.5), float32(0), "1.5", "0"},
		"frequency_penalty": {of(func(s Sampling) any { return s.FrequencyPenalty }), float32(0), float32(1.5), float32(0), "1.5", "0"},
		"mirostat_tau":      {of(func(s Sampling) any { return s.MirostatTau }), float32(5), float32(4), float32(3), "4.0", "3"},
		"mirostat_eta":      {of(func(s Sampling) any { return s.MirostatEta }), float32(0.1), float32(0.25), float32(1), "0.25", "1"},
		"top_k":             {of(func(s Sampling) any { return s.TopK }), int32(40), int32(20), int32(0), "20.0", "0"},
		"repeat_last_n":     {of(func(s Sampling) any { return s.RepeatLastN }), int32(64), int32(-1), int32(0), "-1", "0"},
		"mirostat":          {of(func(s Sampling) any { return s.Mirostat }), 0, 2, 0, "2", "0"},
		"seed":              {seed, nil, int64(9007199254740993), nil, "9007199254740993", "-1"},
		"num_predict":       {func(p Params) any { return p.MaxTokens }, Unlimited, 7, 0, "7", ""},
		"stop":              {func(p Params) any { return strings.Join(p.Stops, "|") }, "", "a|b", "", `["a","b"]`, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustParameters(t, `{"`+name+`":`+v.parameter+`}`)
			fields := []string{`"` + name + `":` + v.body}
			if name == "num_predict" {
				fields = []string{`"max_tokens":0`, `"max_completion_tokens":0`}
			}
			for task, body := range map[string]func(string) string{TaskChat: chat, TaskCompletion: text} {
				parse := func(d Defaults, raw string) any {
					p, err := d.Parse(task, []byte(raw))
					if err != nil {
						t.Fatal(raw, err)
					}
					return v.get(p)
				}
				if got := parse(Defaults{}, body(`"n":1`)); got != v.plain {
					t.Errorf("%s without parameters: %v, want %v", task, got, v.plain)
				}
				if got := parse(d, body(`"n":1`)); got != v.def {
					t.Errorf("%s with the parameter: %v, want %v", task, got, v.def)
				}
				for _, field := range fields {
					if got := parse(d, body(field)); got != v.own {
						t.Errorf("%s with its own: %v, want %v", task, got, v.own)
					}
					null := field[:strings.IndexByte(field, ':')] + ":null"
					if got := parse(d, body(null)); got != v.def {
						t.Errorf("%s with null: %v, want %v", task, got, v.def)
					}
				}
			}
		})
	}
}

func TestDefaultSystem(t *testing.T) {
	d := Defaults{System: "be"}
	for name, tc := range map[string]struct{ messages, want string }{
		"none":          {`{"role":"user","content":"u"}`, "system:be user:u"},
		"its own":       {`{"role":"system","content":"s"},{"role":"user","content":"u"}`, "system:s user:u"},
		"its own, late": {`{"role":"user","content":"u"},{"role":"system","content":"s"},{"role":"user","content":"u"}`, "user:u system:s user:u"},
		"a developer's": {`{"role":"developer","content":"d"},{"role":"user","content":"u"}`, "system:d user:u"},
		"an empty one":  {`{"role":"system","content":""},{"role":"user","content":"u"}`, "system: user:u"},
	} {
		p, err := d.Parse(TaskChat, []byte(`{"messages":[`+tc.messages+`]}`))
		var got []string
		for _, m := range p.Messages {
			got = append(got, m.Role+":"+m.Content)
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if p, err := d.Parse(TaskCompletion, []byte(`{"prompt":"x"}`)); err != nil || p.Messages != nil || p.Prompt != "x" {
		t.Errorf("a completion: %+v, %v", p, err)
	}
}

func TestParseParameters(t *testing.T) {
	for name, tc := range map[string]struct {
		raw    string
		says   string // the error's text; "": none
		unused []string
	}{
		"nothing":             {raw: `{}`},
		"a library's":         {raw: `{"stop":["<|im_start|>","<|im_end|>"],"temperature":0.6,"top_k":20,"top_p":0.95,"repeat_penalty":1,"num_ctx":32768}`},
		"what is not used":    {raw: `{"num_keep":24,"num_gpu":1,"zzz":{"a":[]},"top_k":1}`, unused: []string{"num_gpu", "num_keep", "zzz"}},
		"nulls":               {raw: `{"temperature":null,"top_k":null,"stop":null,"num_ctx":null,"num_predict":null}`},
		"one stop":            {raw: `{"stop":"x"}`},
		"endless":             {raw: `{"num_predict":-1}`},
		"empty":               {raw: ``, says: "parameters: must be a JSON object"},
		"null":                {raw: `null`, says: "parameters: must be a JSON object"},
		"a list":              {raw: `[]`, says: "parameters: must be a JSON object"},
		"cut":                 {raw: `{"temperature":0.6`, says: "parameters: must be a JSON object"},
		"two":                 {raw: `{}{}`, says: "parameters: must be a JSON object"},
		"text for a number":   {raw: `{"temperature":"warm"}`, says: "temperature: must be a number"},
		"half a token":        {raw: `{"top_k":1.5}`, says: "top_k: must be a whole number"},
		"text for a whole":    {raw: `{"num_ctx":"4096"}`, says: "num_ctx: must be a whole number"},
		"a list for a whole":  {raw: `{"seed":[1]}`, says: "seed: must be a whole number"},
		"too large for a f64": {raw: `{"top_p":1e999}`, says: "top_p: must be a number"},
		"too hot":             {raw: `{"temperature":3}`, says: "temperature: must be between 0 and 2"},
		"out of range":        {raw: `{"repeat_penalty":0}`, says: "repeat_penalty: must be between"},
		"negative context":    {raw: `{"num_ctx":-1}`, says: "num_ctx: must be between 0 and"},
		"huge context":        {raw: `{"num_ctx":99999999999}`, says: "num_ctx: must be between 0 and"},
		"a stop of numbers":   {raw: `{"stop":[1]}`, says: "stop: must be a string or a list"},
		"an empty stop":       {raw: `{"stop":[""]}`, says: "stop: each string"},
		"a NUL":               {raw: `{"stop":["a\u0000"]}`, says: "stop: must not contain a NUL"},
		"many stops":          {raw: `{"stop":["a"` + strings.Repeat(`,"a"`, MaxStops) + `]}`, says: "stop: at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, unused, err := ParseParameters([]byte(tc.raw))
			if tc.says == "" && (err != nil || !slices.Equal(unused, tc.unused)) {
				t.Errorf("%v, %v, want %v", unused, err, tc.unused)
			}
			if tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
	d := mustParameters(t, `{"num_ctx":2048.0,"num_predict":-2}`)
	if p, err := d.Parse(TaskCompletion, []byte(`{"prompt":""}`)); d.ContextLength != 2048 || err != nil || p.MaxTokens != Unlimited {
		t.Errorf("context %d, %+v, %v", d.ContextLength, p, err)
	}
}

// TestDefaultsStay: a request changes nothing for the next one.
func TestDefaultsStay(t *testing.T) {
	d := mustParameters(t, `{"temperature":0.25,"seed":5,"stop":["a"],"num_predict":3}`)
	d.System = "be"
	first, err := d.Parse(TaskChat, []byte(chat(`"n":1`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{chat(`"temperature":1,"seed":7,"stop":["b","c"],"max_tokens":1`), chat(`"temperature":9`)} {
		_, _ = d.Parse(TaskChat, []byte(raw))
	}
	again, err := d.Parse(TaskChat, []byte(chat(`"n":1`)))
	if err != nil || !reflect.DeepEqual(first, again) {
		t.Errorf("%+v, %v, want %+v", again, err, first)
	}
}

func FuzzParameters(f *testing.F) {
	for _, s := range []string{`{"stop":["<|im_end|>"],"temperature":0.6,"top_k":20.0,"num_ctx":4096,"num_keep":1}`, `{"seed":1e3}`, `{"a":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, _, err := ParseParameters(raw)
		if err != nil {
			return
		}
		if _, err := d.Parse(TaskCompletion, []byte(`{"prompt":"x"}`)); err != nil || d.ContextLength < 0 || d.ContextLength > MaxContext {
			t.Fatalf("%v, %+v", err, d)
		}
	})
}
