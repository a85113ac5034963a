package grammar

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

func mustParse(t testing.TB, gbnf string) *Grammar {
	t.Helper()
	g, err := Parse(gbnf)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func matches(g *Grammar, text string) bool {
	s := g.NewState()
	return (text == "" || s.Accept(text) == nil) && s.CanEnd()
}

func TestGBNF(t *testing.T) {
	for name, tc := range map[string]struct {
		gbnf    string
		yes, no []string
	}{
		"literal":         {`root ::= "abc"`, []string{"abc"}, []string{"", "ab", "abcd", "x"}},
		"escapes":         {`root ::= "\n\r\t\\\"\[\]\x41\u00e9\U0001F600"`, []string{"\n\r\t\\\"[]Aé😀"}, []string{"A"}},
		"x is a rune":     {`root ::= "\xe9"`, []string{"é"}, []string{"\xe9"}},
		"raw character":   {`root ::= "é😀"`, []string{"é😀"}, []string{"é"}},
		"class":           {`root ::= [a-cx-]+`, []string{"abcx-"}, []string{"", "d", "a d"}},
		"negated":         {`root ::= [^a-c"]`, []string{"d", "é", "\n", "😀", "\U0010FFFF"}, []string{"a", `"`, "", "dd", "\xff", "\xed\xa0\x80"}},
		"class escapes":   {`root ::= [\]\[\\\x30-\u0039é]*`, []string{"", "[]", `\`, "0459é"}, []string{"a", "\xc3"}},
		"wide class":      {`root ::= [à-\U0001F600]`, []string{"à", "þ", "\uffff", "😀", "\U00010000"}, []string{"ß", "😁", "a"}},
		"any":             {`root ::= .`, []string{"a", "\n", "é", "\U0010FFFF"}, []string{"", "ab", "\xff", "\xc0\x80", "\xf4\x90\x80\x80"}},
		"choice":          {`root ::= "a" | "bc" | ""`, []string{"a", "bc", ""}, []string{"b", "abc"}},
		"group":           {`root ::= ("a" | "b") "c"`, []string{"ac", "bc"}, []string{"a", "c", "abc"}},
		"star":            {`root ::= "ab"*`, []string{"", "ab", "abab"}, []string{"a", "aba"}},
		"plus":            {`root ::= [0-9]+`, []string{"1", "12"}, []string{""}},
		"option":          {`root ::= "a"? "b"`, []string{"b", "ab"}, []string{"a", "aab"}},
		"space before op": {`root ::= "a" *`, []string{"", "aa"}, []string{"b"}},
		"exactly":         {`root ::= "a"{3}`, []string{"aaa"}, []string{"aa", "aaaa"}},
		"at least":        {`root ::= "a"{2,}`, []string{"aa", "aaaaa"}, []string{"a"}},
		"from to":         {`root ::= "a"{ 1 , 3 }`, []string{"a", "aa", "aaa"}, []string{"", "aaaa"}},
		"up to":           {`root ::= "a"{0,2}"b"`, []string{"b", "ab", "aab"}, []string{"aaab"}},
		"zero":            {`root ::= "a"{0}"b"`, []string{"b"}, []string{"ab"}},
		"two operators":   {`root ::= "a"{2}*`, []string{"", "aa", "aaaa"}, []string{"a", "aaa"}},
		"comments":        {"# first\nroot ::= \"a\" # then\n  # more\n\nx ::= \"b\"#end", []string{"a"}, []string{"b"}},
		"lines":           {"root ::=\n  \"a\" |\n  \"b\" |\n ( \"c\"\n \"d\"\n | \"e\" )\n", []string{"a", "b", "cd", "e"}, []string{"c"}},
		"carriage return": {"root ::= a\r\na ::= \"x\"\r\n", []string{"x"}, []string{""}},
		"rules":           {"root ::= a-1 b_2\na-1 ::= \"x\"\nb_2 ::= a-1?", []string{"x", "xx"}, []string{"", "xxx"}},
		"recursion":       {`root ::= "(" root ")" | "x"`, []string{"x", "((x))"}, []string{"((x)", "(x))", ""}},
		"right recursion": {`root ::= "a" root | "a"`, []string{"a", "aaaa"}, []string{"", "b"}},
		"nullable rule":   {"root ::= e e \"x\" e\ne ::= \"y\"?", []string{"x", "yx", "yyx", "yyxy"}, []string{"yyyx", "xyy"}},
		"nullable nested": {"root ::= (a b)* \"!\"\na ::= (\"a\"*)*\nb ::= a \"b\"?", []string{"!", "aab!", "abba!", "bb!"}, []string{"a", "c!"}},
		"empty rule":      {"root ::= e \"x\" | e e\ne ::= \"\"", []string{"x", ""}, []string{"xx"}},
		"same way twice":  {"root ::= a | b | a\na ::= c\nb ::= c\nc ::= \"x\" root?", []string{"x", "xxx"}, []string{""}},
		"ambiguous":       {`root ::= "x" root "y" | "x" root "z" | "x"`, []string{"x", "xxy", "xxxzy"}, []string{"xx", "xy"}},
		"stack shared":    {"root ::= \"a\" s \"1\" | \"b\" s \"2\"\ns ::= \"(\" s \")\" | \"x\"", []string{"a((x))1", "b(x)2"}, []string{"a(x)2", "b((x)2"}},
		"NUL":             {`root ::= "\x00" [^\x00]`, []string{"\x00a"}, []string{"\x00\x00"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := mustParse(t, tc.gbnf)
			for _, text := range tc.yes {
				if !matches(g, text) {
					t.Errorf("%q does not match", text)
				}
			}
			for _, text := range tc.no {
				if matches(g, text) {
					t.Errorf("%q matches", text)
				}
			}
		})
	}
}

func TestGBNFErrors(t *testing.T) {
	for name, tc := range map[string]struct{ gbnf, want string }{
		"empty":            {"", `line 1: there is no rule "root"`},
		"no root":          {`a ::= "x"`, `line 1: there is no rule "root"`},
		"undefined":        {"root ::= \"x\"\n  | y", `there is nothing`},
		"undefined rule":   {"root ::= \"x\" |\n y", `line 2: rule "y" is not defined`},
		"twice":            {"root ::= \"x\"\nroot ::= \"y\"", `line 2: rule "root" is defined twice`},
		"no name":          {"\n::= \"x\"", `line 2: a rule's name must come here, not ':'`},
		"no ::=":           {"root = \"x\"", `::= must follow the name "root", not '='`},
		"open text":        {"root ::= \"x\n", `line 1: the text that begins here does not end`},
		"open class":       {"root ::= [a", `class that begins here does not end`},
		"open escape":      {`root ::= "\`, `is not known`},
		"empty class":      {"root ::= []", `the class is empty`},
		"class of nothing": {`root ::= [^\x00-\U0010FFFF]`, `the class leaves no character`},
		"surrogate":        {`root ::= "\uD800"`, `U+D800 is not a character`},
		"too large":        {`root ::= "\UFFFFFFFF"`, `is not a character`},
		"hex":              {`root ::= "\xZZ"`, `2 hexadecimal digits must follow, not "ZZ"`},
		"hex sign":         {`root ::= "\x+1"`, `2 hexadecimal digits must follow`},
		"escape":           {`root ::= "\q"`, `the escape \q is not known`},
		"range":            {`root ::= [z-a]`, `the wrong way round`},
		"open group":       {"root ::= (\"a\"\nb ::= \"c\"", `line 2: the group must be closed`},
		"closed group":     {`root ::= "a")`, `must end here, not go on with ')'`},
		"op alone":         {`root ::= * "a"`, `there is nothing before "*"`},
		"counts":           {`root ::= "a"{x}`, `a number must come here, not 'x'`},
		"counts open":      {`root ::= "a"{1`, `} must end the repetition, not the end`},
		"counts reversed":  {`root ::= "a"{3,1}`, `{3,1} goes from more to less`},
		"counts large":     {`root ::= "a"{1,1000000}`, `a repetition may be 1000 at most`},
		"counts overflow":  {`root ::= "a"{99999999999999999999}`, `a repetition may be 1000 at most`},
		"token":            {`root ::= <think>`, `tokens ("<...>") are not supported`},
		"not UTF-8":        {"root ::= \"a\"\n# \xff", `line 2: the text is not UTF-8`},
		"left":             {`root ::= root "a" | "b"`, `rule "root" is left-recursive: root -> root`},
		"left indirect":    {"root ::= a\na ::= b \"x\" | \"y\"\nb ::= a", `line 2: rule "a" is left-recursive: a -> b -> a`},
		"left nullable":    {"root ::= e root \"a\" | \"b\"\ne ::= \"x\"*", `left-recursive: root -> root`},
		"left deep null":   {"root ::= (e | \"q\")* root \"a\" | \"b\"\ne ::= f f\nf ::= \"\"", `left-recursive`},
		"left in repeat":   {`root ::= (root "x")* "a"`, `left-recursive`},
		"left unreachable": {"root ::= \"a\"\nx ::= x \"b\" | \"c\"", `line 2: rule "x" is left-recursive`},
		"right only empty": {"root ::= \"a\" | e root\ne ::= \"\"", `left-recursive`},
		"never ends":       {`root ::= "a" root`, `rule "root" can never end`},
		"never ends two":   {"root ::= \"a\" x | \"b\"\nx ::= \"c\" y\ny ::= x", `line 2: rule "x" can never end`},
		"nested":           {"root ::= " + strings.Repeat("(", 129) + `"a"` + strings.Repeat(")", 129), `groups are nested deeper than 128`},
		"deep":             {"root ::= " + strings.Repeat("(", 60_000), `groups are nested deeper than 128`},
		"operators":        {`root ::= "a"` + strings.Repeat("*", 60_000), `more than 128 repetitions`},
		"10 MB":            {"root ::= \"" + strings.Repeat("a", 10<<20) + `"`, `longer than 65536 bytes`},
		"multiplied":       {`root ::= ((("a"{1000}){1000}){1000}){1000}`, `the grammar is too large`},
		"empty multiplied": {`root ::= (((""{1000}){1000}){1000}){1000}`, `the grammar is too large`},
		"class multiplied": {`root ::= ([^a-c]{0,1000}){0,1000}`, `the grammar is too large`},
		"options":          {"root ::= " + strings.Repeat(`"a"?`, 16_000), `too many optional elements`},
		"rules":            {"root ::= \"a\"\n" + manyRules(4097), `there are more than 4096 rules`},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := Parse(tc.gbnf)
			within(t, begin)
			if tc.want == "there is nothing" { // a newline ends a rule, so that | begins a line
				tc.want = `line 2: a rule's name must come here, not '|'`
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			e, ok := errors.AsType[*messages.Error](err)
			if !ok || e.Code != messages.CodeBadRequest || !strings.HasPrefix(e.Message, "grammar: line ") {
				t.Fatalf("%#v", err)
			}
		})
	}
}

// TestClassBytes compares classes with their ranges at and around every end of a range.
func TestClassBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var ranges []runeRange
		points := []rune{0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, utf8.MaxRune}
		for range 1 + r.IntN(3) {
			lo := r.Int32N(utf8.MaxRune >> r.IntN(16))
			hi := min(lo+r.Int32N(utf8.MaxRune>>r.IntN(20)+1), utf8.MaxRune)
			ranges = append(ranges, runeRange{lo, hi})
			points = append(points, lo-1, lo, lo+1, hi-1, hi, hi+1, (lo+hi)/2, lo|0x3F, lo|0xFFF, hi&^0x3F, hi&^0xFFF)
		}
		g := mustParse(t, "root ::= "+characters(ranges).gbnf)
		for _, c := range points {
			if !utf8.ValidRune(c) || c < 0x20 || c == '"' || c == '\\' {
				continue
			}
			want := slices.ContainsFunc(ranges, func(r runeRange) bool { return r.lo <= c && c <= r.hi })
			if matches(g, string(c)) != want {
				t.Fatalf("%x: %U: want %v", ranges, c, want)
			}
		}
	}
}

// within fails if a second has passed. The race detector and a busy machine are given more.
func within(t testing.TB, begin time.Time) {
	t.Helper()
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	} else if d > time.Second {
		t.Logf("took %v", d)
	}
}

func manyRules(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString("r" + itoa(i) + " ::= \"a\"\n")
	}
	return out.String()
}

// chain is n rules; each calls the next in the way of format, where % is the next one's name.
func chain(n int, format, last string) string {
	var out strings.Builder
	out.WriteString("root ::= r0\n")
	for i := range n {
		out.WriteString("r" + itoa(i) + " ::= " + strings.ReplaceAll(format, "%", "r"+itoa(i+1)) + "\n")
	}
	return out.String() + "r" + itoa(n) + " ::= " + last + "\n"
}

// mirrors are palindromes of all letters: a mask of them needs other stacks for every token.
func mirrors() string {
	var out strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		out.WriteString(`"` + string(c) + `" root "` + string(c) + `" | `)
	}
	return out.String() + `""`
}

// TestHostileGrammars matches what is accepted by Parse but hard to follow: it must end soon, with a
// match or with ErrTooAmbiguous.
func TestHostileGrammars(t *testing.T) {
	v := NewVocabulary(syntheticPieces(20_000))
	for name, tc := range map[string]struct {
		gbnf, text string
		ambiguous  bool
	}{
		"two ways a step":    {`root ::= "x" root "y" | "x" root "z" | "x"`, strings.Repeat("x", 3000), true},
		"tail calls":         {`root ::= "x" root | "x"`, strings.Repeat("x", 200_000), false},
		"mask of mirrors":    {"root ::= " + mirrors(), "", true},
		"nested stars":       {`root ::= ((("a"*)*)*)* "b"`, strings.Repeat("a", 5000) + "b", false},
		"nested pluses":      {`root ::= ((("a"+)+)+)+ "b"`, strings.Repeat("a", 5000) + "b", false},
		"optional copies":    {`root ::= "a"{0,1000} "a"{0,1000} "a"{1000}`, strings.Repeat("a", 2000), true},
		"optional rest":      {`root ::= "x" root "y"? | "x"`, strings.Repeat("x", 5000), true},
		"nests deep":         {`root ::= "(" root ")" | "x"`, strings.Repeat("(", 500_000), true},
		"double calls":       {chain(60, `% "1" | % "2"`, `"x"`), "x", true},
		"double tail calls":  {chain(60, `% | % | %`, `"x"`), "x", false},
		"double empty calls": {chain(40, `% % "q"? | % "r"?`, `""`), "q", true},
		"calls":              {chain(4000, `%`, `"x"`), "x", false},
		"nested calls":       {chain(2500, `% "y"?`, `"x"`), "xyyy", true},
		"many literals":      {"root ::= " + strings.TrimSuffix(strings.Repeat(`"a" | `, 5000), "| "), "a", true},
		"ways of anything":   {`root ::= (.* .* .* [a-z]* | [^x]* "e"* .*)* [0-9]`, strings.Repeat("the one ", 200) + "7", false},
		"palindromes":        {`root ::= "a" root "a" | "b" root "b" | "c" root | ""`, strings.Repeat("ab", 2000), false},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			g, err := Parse(tc.gbnf)
			if err != nil {
				t.Fatal(err)
			}
			s := g.NewState()
			for i := 0; i < len(tc.text) && err == nil; i += 100 {
				err = s.Accept(tc.text[i:min(i+100, len(tc.text))])
			}
			if err == nil {
				err = s.Mask(v, func(int32) {})
			}
			if tc.ambiguous && !errors.Is(err, ErrTooAmbiguous) || !tc.ambiguous && err != nil {
				t.Errorf("got %v", err)
			}
			if s.Allows("\xff") {
				t.Error("allows what it must not")
			}
			within(t, begin)
		})
	}
}

// TestRandomGrammars compares with matching by trying everything.
func TestRandomGrammars(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	checked := 0
	for range 3000 {
		e := randomElement(r, 4)
		g, err := Parse("root ::= " + e.gbnf)
		if err != nil {
			t.Fatalf("%s: %v", e.gbnf, err)
		}
		for range 20 {
			text := make([]byte, r.IntN(6))
			for i := range text {
				text[i] = "ab"[r.IntN(2)]
			}
			want := e.ends(string(text), map[int]bool{0: true})[len(text)]
			if matches(g, string(text)) != want {
				t.Fatalf("%s: %q: want %v", e.gbnf, text, want)
			}
			checked++
		}
	}
	t.Log(checked, "texts")
}

// naive is a grammar without rules, and where it may end in a text if it begins at one of from.
type naive struct {
	gbnf string
	ends func(text string, from map[int]bool) map[int]bool
}

func randomElement(r *rand.Rand, depth int) naive {
	if depth == 0 || r.IntN(5) == 0 {
		lit := []string{"a", "b", "ab", ""}[r.IntN(4)]
		return naive{`"` + lit + `"`, func(text string, from map[int]bool) map[int]bool {
			out := map[int]bool{}
			for i := range from {
				if strings.HasPrefix(text[i:], lit) {
					out[i+len(lit)] = true
				}
			}
			return out
		}}
	}
	a := randomElement(r, depth-1)
	switch r.IntN(3) {
	case 0:
		b := randomElement(r, depth-1)
		return naive{a.gbnf + " " + b.gbnf, func(text string, from map[int]bool) map[int]bool {
			return b.ends(text, a.ends(text, from))
		}}
	case 1:
		b := randomElement(r, depth-1)
		return naive{"(" + a.gbnf + " | " + b.gbnf + ")", func(text string, from map[int]bool) map[int]bool {
			out := b.ends(text, from)
			for i := range a.ends(text, from) {
				out[i] = true
			}
			return out
		}}
	}
	low, more := r.IntN(3), r.IntN(3)
	bounds := "{" + itoa(low) + "," + itoa(low+more) + "}"
	if more == 2 {
		bounds, more = "{"+itoa(low)+",}", 8
	}
	return naive{"(" + a.gbnf + ")" + bounds, func(text string, from map[int]bool) map[int]bool {
		for range low {
			from = a.ends(text, from)
		}
		out := map[int]bool{}
		for range more + 1 {
			for i := range from {
				out[i] = true
			}
			from = a.ends(text, from)
		}
		return out
	}}
}

func FuzzParse(f *testing.F) {
	f.Add("root ::= \"a\" | [^b-d]{2,3} x # c\nx ::= (\"\\u00e9\" .)* root?", "abc")
	f.Add(JSONObject(), `{"a":[1,true]}`)
	f.Fuzz(func(t *testing.T, gbnf, text string) {
		g, err := Parse(gbnf)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Fatal(err)
			}
			return
		}
		s := g.NewState()
		for i := range len(text) {
			one := text[i : i+1]
			allowed := s.Allows(one)
			if err := s.Accept(one); (err == nil) != allowed {
				t.Fatalf("Allows %v, Accept %v", allowed, err)
			}
		}
	})
}
