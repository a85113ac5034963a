package grammar

import "strings"

// formats are the supported values of "format", as what stands between the quotes.
var formats = map[string]regular{
	"date":      {dateText, 10, 10},
	"time":      {timeText, 9, 21},
	"date-time": {"(" + dateText + `) "T" ` + timeText, 20, 32},
	"uuid":      {`H{8} "-" H{4} "-" H{4} "-" H{4} "-" H{12}`, 36, 36},
	"ipv4":      {`B ("." B){3}`, 7, 15},
	"email":     {`A{1,24} ("." A{1,12})? "@" L ("." L){1,2}`, 5, 110},
}

func init() {
	parts := strings.NewReplacer(
		"H", "[0-9a-f]",
		"B", `("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9])`,
		"A", "[a-zA-Z0-9_+-]",
		"L", "([a-z0-9] ([a-z0-9-]{0,20} [a-z0-9])?)")
	for _, name := range []string{"uuid", "ipv4", "email"} {
		f := formats[name]
		f.gbnf = parts.Replace(f.gbnf)
		formats[name] = f
	}
}

// RFC 3339: a day that its month has, 29 February in leap years only.
const (
	leapYear = `([0-9] [0-9] ("0" [48] | [2468] [048] | [13579] [26]) | ("0" [048] | [2468] [048] | [13579] [26]) "00")`
	day28    = `("0" [1-9] | "1" [0-9] | "2" [0-8])`
	dateText = `[0-9]{4} "-" (("0" [1-9] | "1" [0-2]) "-" ` + day28 +
		` | ("0" [13-9] | "1" [0-2]) "-" ("29" | "30") | ("0" [13578] | "1" [02]) "-31") | ` + leapYear + ` "-02-29"`
	timeText = `("0" [0-9] | "1" [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ` +
		`("Z" | [+-] ("0" [0-9] | "1" [0-9] | "2" [0-3]) ":" [0-5] [0-9])`
)
