// Package fakehub is a HuggingFace hub on loopback for tests: an API host and a CDN host, two listeners, so
// that the two are different hosts to a client. It speaks the protocol of huggingface.co as its own clients
// (the huggingface_hub package of Python, @huggingface/hub of npm) rely on it:
//
//   - GET /api/models/{org}/{repo}[/revision/{rev}]: information, public also for a gated repository
//   - GET /api/models/{org}/{repo}/tree/{rev}[/{path}]?recursive=&expand=&cursor=: files, by pages; the next one
//     is in Link: <...>; rel="next"
//   - POST /api/models/{org}/{repo}/paths-info/{rev}: some files
//   - GET /api/models?search=&author=&filter=&limit=: search; GET /api/whoami-v2
//   - GET, HEAD /{org}/{repo}/resolve/{rev}/{path}: a file in LFS is a 302 to the CDN with X-Repo-Commit,
//     X-Linked-Size and X-Linked-Etag (the sha256; the CDN's own ETag is another number), any other a 307 to a
//     relative address on the same host. A Range sent here is signed into the CDN's address, which then refuses
//     every other one.
//
// Errors are told as there: X-Error-Code and X-Error-Message; a missing or private repository is a 401 without
// a code to who has no token and 404 RepoNotFound to who has; a gated file is 401 or 403 GatedRepo; a 429 is HTML
// with the wait in t= of the RateLimit header; a renamed repository is a 307 with a relative Location.
//
// What goes wrong on the way is switched on and off while it runs: see [Hub.RateLimit], [Hub.Break],
// [Hub.BreakCDN], [Hub.ExpireLinks], [Hub.LinkLife], [Hub.Throttle], [Hub.Cut], [Hub.Stall] and
// [Hub.IgnoreRanges]. What was asked for is in [Hub.Requests], what was sent in [Hub.SentBytes]. All methods may
// be called at any time by many goroutines.
//
//	hub := fakehub.Start()
//	defer hub.Close()
//	hub.Add(fakehub.Repo{Name: "org/repo", Files: []fakehub.File{{Path: "m-Q4_K_M.gguf", Size: 200 << 20, LFS: true}}})
//	// HF_ENDPOINT=hub.URL()
package fakehub
