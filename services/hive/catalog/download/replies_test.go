package download

import (
	"fmt"
	"net/http"
	"strconv"
)

// reply answers some requests in its own way.
type reply = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool

func status(code int, from, to int, header ...string) reply {
	return func(_ *server, n int, w http.ResponseWriter, _ *http.Request) bool {
		if n < from || n > to {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "no", code)
		return true
	}
}

// noRanges gives the whole file whatever is asked for.
func noRanges(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
	r.Header.Del("Range")
	s.serve(w, r)
	return true
}

// noRangesCut does too, and cuts every answer but each third in the middle.
func noRangesCut(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
	if n%3 == 0 {
		return noRanges(s, n, w, r)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
	s.write(w, r, s.content[:len(s.content)*min(n, 9)/10])
	panic(http.ErrAbortHandler)
}

// chunked does not say how large the file is.
func chunked(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
	w.WriteHeader(http.StatusOK)
	s.write(w, r, s.content)
	return true
}

// chunkedRanges has ranges and says no size; its first long answer is cut.
func chunkedRanges(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
	from, to, ok := parseRange(r.Header.Get("Range"), len(s.content))
	if ok && from >= len(s.content) {
		return false
	}
	if ok {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, to-1))
		w.WriteHeader(http.StatusPartialContent)
	}
	if n == 2 {
		s.write(w, r, s.content[from:to][:1<<20])
		panic(http.ErrAbortHandler)
	}
	s.write(w, r, s.content[from:to])
	return true
}

func wrongRange(from, to int) reply {
	return func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		if n < from || n > to {
			return false
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-%d/%d", 99, len(s.content)))
		w.WriteHeader(http.StatusPartialContent)
		return true
	}
}

// stall answers with so many bytes and then nothing.
func stall(bytes, from, to int) reply {
	return func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		if n < from || n > to {
			return false
		}
		f, e, _ := parseRange(r.Header.Get("Range"), len(s.content))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", f, e-1, len(s.content)))
		w.WriteHeader(http.StatusPartialContent)
		s.write(w, r, s.content[f:min(f+bytes, e)])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
}

// moreThanAsked sends to the end whatever the range's end is.
func moreThanAsked(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
	from, _, _ := parseRange(r.Header.Get("Range"), len(s.content))
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	w.WriteHeader(http.StatusPartialContent)
	s.write(w, r, s.content[from:])
	return true
}

// lessThanAsked sends half of each range, and says so.
func lessThanAsked(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
	from, to, _ := parseRange(r.Header.Get("Range"), len(s.content))
	to = from + (to-from+1)/2
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(s.content)))
	w.WriteHeader(http.StatusPartialContent)
	s.write(w, r, s.content[from:to])
	return true
}
