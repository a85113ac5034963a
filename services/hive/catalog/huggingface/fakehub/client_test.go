package fakehub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what testdata/client.mjs prints.
type seen struct {
	Files []struct {
		Type string
		Path string
		Size int64
		LFS  *struct{ OID string }
	}
	Infos map[string]struct {
		Size int64
		Etag string
	}
	Sums        map[string]string
	Missing     any
	MissingRepo int
	Paths       []struct{ Path string }
	Model       struct {
		Name string
		Sha  string
		Tags []string
	}
	Found []string
	Who   string
}

// TestHuggingFacesOwnClient has npm's @huggingface/hub list and download from the fake.
func TestHuggingFacesOwnClient(t *testing.T) {
	folder := os.Getenv("RBEE_HUB_CLIENT")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@huggingface", "hub")); folder == "" || err != nil {
		t.Fatal("make hub-client installs it: RBEE_HUB_CLIENT is not a folder with node_modules/@huggingface/hub")
	}
	files := []File{
		{Path: "README.md", Content: []byte("# A model\n")},
		{Path: "config.json", Content: bytes.Repeat([]byte(`{"a": 1}`), 200)},
		{Path: "m-Q4_K_M.gguf", Size: 3<<20 + 17, Seed: 1, LFS: true},
		{Path: "big/m-Q8_0-00001-of-00002.gguf", Size: 70_001, Seed: 2, LFS: true},
		{Path: "big/m-Q8_0-00002-of-00002.gguf", Size: 50_003, Seed: 3, LFS: true},
	}
	for name, tc := range map[string]struct {
		repo  Repo
		ask   string
		token string
	}{
		"public":  {repo: Repo{Name: "bees/model", License: "mit", Files: files}, ask: "bees/model"},
		"gated":   {repo: Repo{Name: "bees/model", Gated: true, Files: files}, ask: "bees/model", token: "hf_fake"},
		"renamed": {repo: Repo{Name: "bees/model", Renamed: []string{"wasps/model"}, Files: files}, ask: "wasps/model"},
	} {
		t.Run(name, func(t *testing.T) {
			hub := Start()
			defer hub.Close()
			hub.PageSize(2)
			hub.AddToken("hf_fake", "bees/model")
			commit := hub.Add(tc.repo)
			got := runClient(t, folder, hub.URL(), tc.ask, tc.token)
			var listed int
			for _, f := range got.Files {
				if f.Type == "file" {
					listed++
				}
			}
			if listed != len(files) || len(got.Paths) != len(files) || got.Missing != nil || got.Model.Sha != commit || got.Model.Name != "bees/model" {
				t.Errorf("the client sees %+v", got)
			}
			for _, f := range files {
				all, err := io.ReadAll(Reader(f))
				if err != nil {
					t.Fatal(err)
				}
				if got.Sums[f.Path] != Digest(f) || got.Infos[f.Path].Size != int64(len(all)) {
					t.Errorf("%s came as %s, %+v; it is %s", f.Path, got.Sums[f.Path], got.Infos[f.Path], Digest(f))
				}
				if len(all) > 200 {
					part := sha256.Sum256(all[100:200])
					if got.Sums[f.Path+" 100-200"] != hex.EncodeToString(part[:]) {
						t.Errorf("bytes 100-200 of %s are wrong", f.Path)
					}
				}
				// It follows to the CDN, so it gets that one's ETag, as from the real hub.
				if etag := strings.Trim(got.Infos[f.Path].Etag, `"`); etag == "" || etag == Digest(f) {
					t.Errorf("%s has the etag %s", f.Path, etag)
				}
			}
			wantStatus := 401
			if tc.token != "" {
				wantStatus = 404
				if got.Who != "bee" {
					t.Errorf("the token is %q's", got.Who)
				}
			}
			if got.MissingRepo != wantStatus {
				t.Errorf("a missing repository is %d, not %d", got.MissingRepo, wantStatus)
			}
			for _, r := range hub.Requests() {
				if r.Host == "cdn" && r.Header.Get("Authorization") != "" {
					t.Error("the client sent its token to the CDN")
				}
			}
		})
	}
}

func runClient(t *testing.T, folder, url, repo, token string) seen {
	t.Helper()
	abs, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/client.mjs", abs, url, repo, token)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("node testdata/client.mjs (Node 20 or later): %v\n%s", err, stderr.String())
	}
	var s seen
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	return s
}
