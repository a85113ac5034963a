package engines

// pin is one package, exactly: a package whose content differs by a bit is refused.
type pin struct {
	engine    string // the engine's name
	release   string // its version, which the worker's bindings are made for
	goos      string
	goarch    string
	pkg       string // npm package
	version   string // of the package
	integrity string // "sha512-" and base64, of the package's tgz
	lib       string // folder of the libraries in it
	links     []link // made beside the libraries
}

// link is a name under which a library is looked up, and the file that the package has for it.
type link struct{ name, target string }

var linuxLinks = []link{
	{"libllama.so", "libllama.v0.5.0.so"},
	{"libggml.so", "libggml.v0.5.0.so"},
}

// npmPins lists every package that can be installed. macOS and Windows have none: the packages for
// them of the version that has llama.cpp v0.5.0 are not published; there, use [LibVar].
var npmPins = []pin{
	{
		engine: LlamaCpp, release: "v0.5.0", goos: "linux", goarch: "amd64",
		pkg: "@node-llama-cpp/linux-x64", version: "3.22.1",
		integrity: "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
		lib:       "bins/linux-x64", links: linuxLinks,
	},
	{
		engine: LlamaCpp, release: "v0.5.0", goos: "linux", goarch: "arm64",
		pkg: "@node-llama-cpp/linux-arm64", version: "3.22.1",
		integrity: "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
		lib:       "bins/linux-arm64", links: linuxLinks,
	},
}
