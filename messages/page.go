package messages

// PageBytes is the most that the entries of a page of a list take, well below [MaxPayload]. A single entry may take more.
const PageBytes = 700 << 10

// Page fills a page of a list that is read in Format.
type Page struct {
	Format  Format
	bytes   int
	entries int
}

// Takes says whether entry, a pointer, still fits the page; the first one always does. An error is of encoding it.
func (p *Page) Takes(entry any) (bool, error) {
	data, err := Encode(p.Format, entry)
	if err != nil || p.entries > 0 && p.bytes+len(data) > PageBytes {
		return false, err
	}
	p.bytes += len(data)
	p.entries++
	return true, nil
}
