package router

import "testing"

func TestPick(t *testing.T) {
	free := func(id string, slots, used, running int) Candidate {
		return Candidate{ID: "", Incarnation: id, Free: true, Slots: slots, Used: used, Running: running}
	}
	ids := func(cs ...Candidate) []Candidate {
		for i := range cs {
			cs[i].ID = "w" + cs[i].ID
		}
		return cs
	}
	but := func(c Candidate, change func(*Candidate)) Candidate { change(&c); return c }
	for name, tc := range map[string]struct {
		cs   []Candidate
		want int
	}{
		"nobody":                        {nil, -1},
		"one":                           {ids(free("a", 1, 0, 0)), 0},
		"full by its own word":          {ids(free("a", 2, 2, 0)), -1},
		"full by our count":             {ids(free("a", 2, 0, 2)), -1},
		"no slots at all":               {ids(free("a", 0, 0, 0)), -1},
		"smaller share":                 {ids(free("a", 2, 1, 0), free("b", 4, 1, 0)), 1},
		"the larger of both counts":     {ids(free("a", 4, 1, 3), free("b", 4, 2, 0)), 1},
		"starting, draining or suspect": {ids(but(free("a", 2, 0, 0), func(c *Candidate) { c.Free = false }), free("b", 2, 1, 0)), 1},
		"refused a moment ago":          {ids(but(free("a", 2, 0, 0), func(c *Candidate) { c.Busy = true }), free("b", 2, 1, 0)), 1},
		"failed this request":           {ids(but(free("a", 2, 0, 0), func(c *Candidate) { c.Failed = true }), free("b", 2, 1, 0)), 1},
		"equals take turns":             {ids(but(free("a", 2, 0, 0), func(c *Candidate) { c.Picks = 3 }), free("b", 2, 0, 0)), 1},
		"then by id":                    {[]Candidate{{ID: "b", Free: true, Slots: 1}, {ID: "a", Free: true, Slots: 1}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Pick(tc.cs); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
