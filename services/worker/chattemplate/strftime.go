package chattemplate

import (
	"fmt"
	"strings"
	"time"
)

// strftime writes t as Python's strftime does in the C locale.
func strftime(t time.Time, layout string) string {
	var b strings.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			b.WriteByte(layout[i])
			continue
		}
		i++
		bare := layout[i] == '-' && i+1 < len(layout) // %-d: without the leading zero
		if bare {
			i++
		}
		s := strftimeField(t, layout[i])
		if bare {
			if s = strings.TrimLeft(s, "0"); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}

var goLayouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'Z': "MST", 'z': "-0700", 'j': "002",
	'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006",
	'x': "01/02/06", 'X': "15:04:05",
}

func strftimeField(t time.Time, c byte) string {
	switch c {
	case '%':
		return "%"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 's':
		return fmt.Sprint(t.Unix())
	case 'w':
		return fmt.Sprint(int(t.Weekday()))
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1)
	}
	if layout, ok := goLayouts[c]; ok {
		return t.Format(layout)
	}
	return "%" + string(c)
}
